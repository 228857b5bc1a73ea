#include <llvm/MC/TargetRegistry.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/Target/TargetOptions.h>

#include "part.h"

extern "C" LLVMTargetMachineRef iwh_aotc_create_target_machine(
    LLVMTargetRef target_ref, const char *triple, const char *cpu, const char *features,
    const char *stack_usage_file) {
  llvm::TargetOptions options;
  // Code that cannot be reached traps, should it be reached.
  options.TrapUnreachable = true;
  if (stack_usage_file) options.StackUsageOutput = stack_usage_file;
  auto *target = reinterpret_cast<llvm::Target *>(target_ref);
  // The small code model, as WAMR's own tool has it: the loader keeps code and constants together.
  // Position-independent: tables of jumps would otherwise have to be in the lowest 2 GiB of the
  // process, where little room is and may be none.
  auto *machine = target->createTargetMachine(
#if LLVM_VERSION_MAJOR >= 21
      llvm::Triple(triple),
#else
      triple,
#endif
      cpu, features, options, llvm::Reloc::PIC_, llvm::CodeModel::Small,
      llvm::CodeGenOptLevel::Aggressive);
  // WAMR's loader knows no section for large data.
  machine->setLargeDataThreshold(UINT64_MAX);
  return reinterpret_cast<LLVMTargetMachineRef>(machine);
}
