// The passes of ours, in the order in which the pipeline runs them.
#ifndef IREE_WASM_HAL_WAMR_AOTC_PASSES_H_
#define IREE_WASM_HAL_WAMR_AOTC_PASSES_H_

#include <llvm/IR/PassManager.h>

namespace iwh {

// Moves constants out of 32-bit address arithmetic: zext(x + C) becomes zext(x) + C.
struct FoldAddressesPass : llvm::PassInfoMixin<FoldAddressesPass> {
  llvm::PreservedAnalyses run(llvm::Function &function, llvm::FunctionAnalysisManager &analyses);
};

// Replaces what WAMR's frontend emits for pairwise integer operations by the CPU's instructions.
struct PairwisePass : llvm::PassInfoMixin<PairwisePass> {
  llvm::PreservedAnalyses run(llvm::Function &function, llvm::FunctionAnalysisManager &analyses);
};

// Keeps LLVM's SLP vectorizer from taking unsigned conversions apart, which it does wrongly. Runs
// directly before it.
struct GuardConversionsPass : llvm::PassInfoMixin<GuardConversionsPass> {
  llvm::PreservedAnalyses run(llvm::Function &function, llvm::FunctionAnalysisManager &analyses);
};

// Merges groups of equal 128-bit operations into 256- and 512-bit ones.
struct WidenPass : llvm::PassInfoMixin<WidenPass> {
  explicit WidenPass(unsigned bit_width) : bit_width(bit_width) {}
  llvm::PreservedAnalyses run(llvm::Function &function, llvm::FunctionAnalysisManager &analyses);
  unsigned bit_width;
};

}  // namespace iwh

#endif
