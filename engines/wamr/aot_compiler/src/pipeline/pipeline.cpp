// The pass pipeline: LLVM's own at -O3, with the passes of ours where they see most.

#include "pipeline.h"

#include <llvm/ADT/STLExtras.h>
#include <llvm/ADT/StringExtras.h>
#include <llvm/Analysis/AliasAnalysis.h>
#include <llvm/Analysis/CGSCCPassManager.h>
#include <llvm/Analysis/LoopAnalysisManager.h>
#include <llvm/Analysis/TargetLibraryInfo.h>
#include <llvm/IR/Module.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Passes/StandardInstrumentations.h>
#include <llvm/Support/CBindingWrapping.h>
#include <llvm/Support/ErrorHandling.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/Transforms/InstCombine/InstCombine.h>
#include <llvm/Transforms/Scalar/ADCE.h>
#include <llvm/Transforms/Scalar/EarlyCSE.h>
#include <llvm/Transforms/Scalar/SROA.h>
#include <llvm/Transforms/Scalar/SimplifyCFG.h>
#include <llvm/Transforms/Vectorize/SLPVectorizer.h>

#include "../failure.h"
#include "guard_minmax.h"
#include "passes.h"

using namespace llvm;

namespace {

// The widest vectors that the pass may make: what is asked for, and what the CPU has in full.
unsigned widening_bit_width(const iwh_aotc_options &options) {
  StringRef features = options.features;
  auto has = [&](StringRef feature) { return is_contained(split(features, ","), feature); };
  bool has_512 = has("+avx512f") && has("+avx512bw") && has("+avx512dq") && has("+avx512vl");
  unsigned widest = has_512 ? 512 : has("+avx2") ? 256 : 128;
  return std::min<unsigned>(options.vector_bit_width, widest);
}

FunctionPassManager before_simplification(const iwh_aotc_options &options) {
  FunctionPassManager passes;
  passes.addPass(SROAPass(SROAOptions::ModifyCFG));
  passes.addPass(EarlyCSEPass(true));
  passes.addPass(InstCombinePass());
  passes.addPass(SimplifyCFGPass());
  if (!options.explicit_bounds_checks) passes.addPass(iwh::FoldAddressesPass());
  passes.addPass(iwh::PairwisePass());
  passes.addPass(EarlyCSEPass(true));
  return passes;
}

FunctionPassManager widening(const iwh_aotc_options &options) {
  FunctionPassManager passes;
  passes.addPass(EarlyCSEPass(true));
  passes.addPass(InstCombinePass());
  if (!options.explicit_bounds_checks) passes.addPass(iwh::FoldAddressesPass());
  passes.addPass(EarlyCSEPass(true));
  // Some compilers keep a vector's lanes in scalars: they are vectors again before they are merged.
  passes.addPass(iwh::GuardConversionsPass());
  passes.addPass(SLPVectorizerPass());
  passes.addPass(InstCombinePass());
  passes.addPass(EarlyCSEPass(true));
  passes.addPass(iwh::WidenPass(widening_bit_width(options)));
  passes.addPass(ADCEPass());
  passes.addPass(InstCombinePass());
  return passes;
}

ModulePassManager build(PassBuilder &builder, const iwh_aotc_options &options) {
  ModulePassManager passes;
  passes.addPass(createModuleToFunctionPassAdaptor(before_simplification(options)));
  passes.addPass(
      builder.buildModuleSimplificationPipeline(OptimizationLevel::O3, ThinOrFullLTOPhase::None));
  if (widening_bit_width(options) > 128)
    passes.addPass(createModuleToFunctionPassAdaptor(widening(options)));
  passes.addPass(
      builder.buildModuleOptimizationPipeline(OptimizationLevel::O3, ThinOrFullLTOPhase::None));
  return passes;
}

}  // namespace

extern "C" void iwh_aotc_optimize(
    LLVMModuleRef module_ref, LLVMTargetMachineRef machine_ref, const iwh_aotc_options *options) {
  Module &module = *unwrap(module_ref);
  auto *machine = reinterpret_cast<TargetMachine *>(machine_ref);
  PipelineTuningOptions tuning;
  tuning.LoopVectorization = tuning.LoopInterleaving = true;
  tuning.SLPVectorization = false;  // it stands before the widening, with a guard in front
  PassInstrumentationCallbacks callbacks;
  OptNoneInstrumentation skip_unoptimized(false);
  skip_unoptimized.registerCallbacks(callbacks);
  iwh::guard_minmax(callbacks);
  callbacks.registerShouldRunOptionalPassCallback(
      [](StringRef, Any) { return !iwh_aotc_is_cancelled(); });
  PassBuilder builder(machine, tuning, std::nullopt, &callbacks);
  LoopAnalysisManager loops;
  FunctionAnalysisManager functions;
  CGSCCAnalysisManager components;
  ModuleAnalysisManager modules;
  // A loop must not become a call of the host's memset: a fault in there is not in the guest's
  // code, so that it would not be a trap.
  TargetLibraryInfoImpl libraries(machine->getTargetTriple());
  libraries.disableAllFunctions();
  functions.registerPass([&] { return TargetLibraryAnalysis(libraries); });
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  build(builder, *options).run(module, modules);
#ifndef NDEBUG
  if (verifyModule(module, &errs())) report_fatal_error("the optimized module is not valid");
#endif
}
