// Pairwise integer operations of WebAssembly.
//
// WAMR's frontend emits i32x4.dot_i16x8_s and the extadd_pairwise family as shuffles and additions
// of extended vectors. The CPU has one instruction for each, and the widening pass merges those:
// LLVM alone finds the instruction at 128 bits at best.

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/IntrinsicsX86.h>
#include <llvm/IR/PatternMatch.h>
#include <llvm/Transforms/Utils/Local.h>

#include "passes.h"

using namespace llvm;
using namespace llvm::PatternMatch;

namespace iwh {
namespace {

// The vector of which `value` is every second lane, from `first` on; null if it is none.
Value *every_second_lane(Value *value, int first) {
  auto *shuffle = dyn_cast<ShuffleVectorInst>(value);
  if (!shuffle) return nullptr;
  ArrayRef<int> mask = shuffle->getShuffleMask();
  for (size_t lane = 0; lane < mask.size(); lane++)
    if (mask[lane] != static_cast<int>(2 * lane) + first) return nullptr;
  auto *source = cast<FixedVectorType>(shuffle->getOperand(0)->getType());
  return source->getNumElements() == 2 * mask.size() ? shuffle->getOperand(0) : nullptr;
}

bool has_lanes(Value *value, unsigned count, unsigned bits) {
  auto *type = dyn_cast<FixedVectorType>(value->getType());
  return type && type->getNumElements() == count && type->getElementType()->isIntegerTy(bits);
}

Value *splat(IRBuilder<> &builder, unsigned count, unsigned bits, uint64_t number) {
  return builder.CreateVectorSplat(count, builder.getIntN(bits, number));
}

Value *multiply_pairs(IRBuilder<> &builder, Value *left, Value *right) {
  return builder.CreateIntrinsic(Intrinsic::x86_sse2_pmadd_wd, {}, {left, right});
}

// even(sext(a) * sext(b)) + odd(sext(a) * sext(b)); -32768 * -32768 * 2 wraps in both.
Value *dot(IRBuilder<> &builder, Value *left, Value *right) {
  Value *product = every_second_lane(left, 0), *a, *b;
  if (!product || product != every_second_lane(right, 1)) return nullptr;
  if (!match(product, m_Mul(m_SExt(m_Value(a)), m_SExt(m_Value(b))))) return nullptr;
  if (!has_lanes(a, 8, 16) || !has_lanes(b, 8, 16)) return nullptr;
  return multiply_pairs(builder, a, b);
}

// extend(even(v)) + extend(odd(v))
Value *extended_sum(IRBuilder<> &builder, Value *left, Value *right) {
  auto *first = dyn_cast<CastInst>(left), *second = dyn_cast<CastInst>(right);
  if (!first || !second || first->getOpcode() != second->getOpcode()) return nullptr;
  bool is_signed = first->getOpcode() == Instruction::SExt;
  if (!is_signed && first->getOpcode() != Instruction::ZExt) return nullptr;
  Value *vector = every_second_lane(first->getOperand(0), 0);
  if (!vector || vector != every_second_lane(second->getOperand(0), 1)) return nullptr;
  if (has_lanes(vector, 8, 16) && has_lanes(first, 4, 32)) {
    Value *ones = splat(builder, 8, 16, 1);
    if (is_signed) return multiply_pairs(builder, vector, ones);
    // Both lanes are made signed by taking 0x8000 away, which is given back to the sum.
    Value *shifted = builder.CreateXor(vector, splat(builder, 8, 16, 0x8000));
    return builder.CreateAdd(
        multiply_pairs(builder, shifted, ones), splat(builder, 4, 32, 0x10000));
  }
  if (has_lanes(vector, 16, 8) && has_lanes(first, 8, 16)) {
    // The first operand of pmaddubsw is unsigned, the second is signed.
    Value *ones = splat(builder, 16, 8, 1);
    return builder.CreateIntrinsic(
        Intrinsic::x86_ssse3_pmadd_ub_sw_128, {},
        {is_signed ? ones : vector, is_signed ? vector : ones});
  }
  return nullptr;
}

}  // namespace

PreservedAnalyses PairwisePass::run(Function &function, FunctionAnalysisManager &) {
  bool changed = false;
  for (Instruction &instruction : make_early_inc_range(instructions(function))) {
    Value *left, *right;
    if (!match(&instruction, m_Add(m_Value(left), m_Value(right)))) continue;
    if (!instruction.getType()->isVectorTy()) continue;
    IRBuilder<> builder(&instruction);
    Value *result = dot(builder, left, right);
    if (!result) result = extended_sum(builder, left, right);
    if (!result) continue;
    instruction.replaceAllUsesWith(result);
    instruction.eraseFromParent();
    changed = true;
  }
  if (!changed) return PreservedAnalyses::all();
  PreservedAnalyses preserved;
  preserved.preserveSet<CFGAnalyses>();
  return preserved;
}

}  // namespace iwh
