// Keeps loads whose result nothing needs: out of bounds, they trap, and LLVM would delete them.
//
// They become volatile. All other loads stay plain, so that LLVM may merge and move them; one that
// turns out to be needed on some paths only may end up on those alone.

#include <llvm/ADT/DenseSet.h>
#include <llvm/ADT/SmallVector.h>
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/Module.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Transforms/IPO/AlwaysInliner.h>
#include <llvm/Transforms/Utils/Mem2Reg.h>

#include "part.h"

namespace {

void inline_and_promote(llvm::Module &module) {
  llvm::PassBuilder builder;
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  llvm::ModulePassManager passes;
  passes.addPass(llvm::AlwaysInlinerPass());
  passes.addPass(llvm::createModuleToFunctionPassAdaptor(llvm::PromotePass()));
  passes.run(module, modules);
}

bool is_guest_address(llvm::Value *address) {
  auto *offset = llvm::dyn_cast<llvm::GetElementPtrInst>(address);
  return iwh_aotc_is_memory_base(
      llvm::wrap(offset ? offset->getPointerOperand() : address));
}

void keep_unused_loads(llvm::Function &function) {
  llvm::DenseSet<llvm::Instruction *> needed;
  llvm::SmallVector<llvm::Instruction *, 64> pending;
  auto need = [&](llvm::Instruction &instruction) {
    if (needed.insert(&instruction).second) pending.push_back(&instruction);
  };
  for (llvm::Instruction &each : llvm::instructions(function)) {
    if (each.isTerminator() || each.mayHaveSideEffects()) need(each);
  }
  while (!pending.empty()) {
    for (llvm::Value *operand : pending.pop_back_val()->operands()) {
      if (auto *instruction = llvm::dyn_cast<llvm::Instruction>(operand)) need(*instruction);
    }
  }
  for (llvm::Instruction &each : llvm::instructions(function)) {
    auto *load = llvm::dyn_cast<llvm::LoadInst>(&each);
    if (load && !needed.contains(load) && is_guest_address(load->getPointerOperand())) {
      load->setVolatile(true);
    }
  }
}

}  // namespace

extern "C" void iwh_aotc_keep_unused_loads(LLVMModuleRef module_ref) {
  llvm::Module &module = *llvm::unwrap(module_ref);
  inline_and_promote(module);
  for (llvm::Function &function : module) keep_unused_loads(function);
}
