// The way into guest code and out of it.
//
// Guest code is left in three ways: it returns, a function that it called ends it (iwh_leave), or a
// signal handler lets the thread go on at iwh_landing. Nothing but guest code and such a function
// is on the stack above iwh_enter, so going back to its frame is all there is to do.

  .text

// iwh_entered iwh_enter(iwh_call *call, void *code, void *execution, const uint64_t *slots,
//                       uint64_t slot_count)
// At least five slots are readable.
  .globl iwh_enter
  .hidden iwh_enter
  .type iwh_enter, @function
iwh_enter:
  .cfi_startproc
  pushq %rbp
  .cfi_def_cfa_offset 16
  .cfi_offset %rbp, -16
  movq %rsp, %rbp
  .cfi_def_cfa_register %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  subq $8, %rsp
  .cfi_offset %rbx, -24
  .cfi_offset %r12, -32
  .cfi_offset %r13, -40
  .cfi_offset %r14, -48
  .cfi_offset %r15, -56
  movq %rsp, 0(%rdi)
  movq %rbp, 8(%rdi)
  movq %rsi, %rax
  movq %rcx, %r10
  movq %rdx, %rdi
  // What does not fit the registers goes to the stack, the last one first, in an even number.
  movq %r8, %r11
  subq $5, %r11
  jle 2f
  testq $1, %r11
  jz 1f
  subq $8, %rsp
1:
  pushq 32(%r10,%r11,8)
  decq %r11
  jnz 1b
2:
  movq 0(%r10), %rsi
  movq 8(%r10), %rdx
  movq 16(%r10), %rcx
  movq 24(%r10), %r8
  movq 32(%r10), %r9
  callq *%rax
  xorl %edx, %edx
3:
  leaq -40(%rbp), %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  .cfi_remember_state
  .cfi_def_cfa %rsp, 8
  ret
  .cfi_restore_state

// With the call in rdi and any stack pointer.
  .globl iwh_landing
  .hidden iwh_landing
  .type iwh_landing, @function
iwh_landing:
  .globl iwh_leave
  .hidden iwh_leave
  .type iwh_leave, @function
iwh_leave:
  movq 0(%rdi), %rsp
  movq 8(%rdi), %rbp
  cld
  // Dirty upper halves slow down all later SSE code on some CPUs.
  cmpb $0, iwh_clear_vectors(%rip)
  je 4f
  vzeroupper
4:
  xorl %eax, %eax
  movl $1, %edx
  jmp 3b
  .cfi_endproc
  .size iwh_enter, . - iwh_enter

  .section .note.GNU-stack, "", @progbits
