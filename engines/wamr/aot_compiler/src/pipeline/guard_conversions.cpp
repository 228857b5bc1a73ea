// LLVM's SLP vectorizer computes in as few bits as it finds enough, and finds too few in front of an
// unsigned conversion to float: sext(i16) + 1 to 64 bits becomes one to 32 bits, so that -5 is
// converted as 2^32 - 5 instead of 2^64 - 5 (LLVM 19 to 22). It leaves the width of what is frozen.

#include <llvm/ADT/SmallVector.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/Instructions.h>

#include "passes.h"

using namespace llvm;

namespace iwh {

PreservedAnalyses GuardConversionsPass::run(Function &function, FunctionAnalysisManager &) {
  SmallVector<UIToFPInst *, 16> conversions;
  for (Instruction &instruction : instructions(function)) {
    auto *conversion = dyn_cast<UIToFPInst>(&instruction);
    if (conversion && !conversion->getType()->isVectorTy()) conversions.push_back(conversion);
  }
  for (UIToFPInst *conversion : conversions)
    conversion->setOperand(0, IRBuilder<>(conversion).CreateFreeze(conversion->getOperand(0)));
  if (conversions.empty()) return PreservedAnalyses::all();
  PreservedAnalyses preserved;
  preserved.preserveSet<CFGAnalyses>();
  return preserved;
}

}  // namespace iwh
