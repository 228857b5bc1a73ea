// Keeps LLVM's instruction combiner from merging two minima, or two maxima, wrongly.
#ifndef IREE_WASM_HAL_WAMR_AOTC_GUARD_MINMAX_H_
#define IREE_WASM_HAL_WAMR_AOTC_GUARD_MINMAX_H_

#include <llvm/IR/PassInstrumentation.h>

namespace iwh {

// Rewrites what the combiner would get wrong, directly before each of its runs.
void guard_minmax(llvm::PassInstrumentationCallbacks &callbacks);

}  // namespace iwh

#endif
