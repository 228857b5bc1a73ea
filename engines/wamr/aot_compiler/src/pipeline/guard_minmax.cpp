// LLVM's instruction combiner takes min(min(m, K), K) for min(m, K) where both are a comparison of
// floats and a select and K is no NaN (`foldSPFofSPF`, LLVM 19 to 22). They may differ in what they
// give for a NaN: with m a NaN, `n = K < m ? K : m` is m and `n < K ? n : K` is K, but the merged
// form is m. This resolves the outer select for both values of the inner one, which leaves nothing to
// merge; the combiner then finds the right single comparison.

#include "guard_minmax.h"

#include <llvm/ADT/SmallVector.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/PatternMatch.h>

using namespace llvm;
using namespace llvm::PatternMatch;

namespace {

// `outer` compares the result of `inner` with `bound`, and is one of these two; `inner` is one of
// `value` and `inner_bound`. The bounds are the same but for a zero's sign.
struct Nest {
  SelectInst *outer;
  SelectInst *inner;
  FCmpInst *compare;
  bool is_inner_first;  // operand of the comparison
  Value *bound;         // as the outer select gives it
  Value *value;
  Value *inner_bound;
};

bool is_same(Value *a, Value *b) {
  return a == b || (match(a, m_AnyZeroFP()) && match(b, m_AnyZeroFP()));
}

// The arm of a select beside `arm`; null where that is neither or both.
Value *other_arm(SelectInst *select, Value *arm) {
  bool is_true = is_same(select->getTrueValue(), arm);
  bool is_false = is_same(select->getFalseValue(), arm);
  if (is_true == is_false) return nullptr;
  return is_true ? select->getFalseValue() : select->getTrueValue();
}

bool match_nest(SelectInst *outer, bool is_inner_first, Nest &nest) {
  auto *compare = dyn_cast<FCmpInst>(outer->getCondition());
  if (!compare) return false;
  auto *inner = dyn_cast<SelectInst>(compare->getOperand(is_inner_first ? 0 : 1));
  if (!inner || inner == outer || !isa<FCmpInst>(inner->getCondition())) return false;
  Value *compared = compare->getOperand(is_inner_first ? 1 : 0);
  Value *bound = other_arm(outer, inner);
  if (!bound || !is_same(bound, compared)) return false;
  Value *value = other_arm(inner, bound);
  if (!value) return false;
  Value *inner_bound =
      inner->getTrueValue() == value ? inner->getFalseValue() : inner->getTrueValue();
  nest = {outer, inner, compare, is_inner_first, bound, value, inner_bound};
  return true;
}

// The outer select's result where the inner one gave `value`.
Value *outer_for(IRBuilder<> &builder, const Nest &nest, Value *value) {
  if (value == nest.bound) return value;
  Value *operands[] = {nest.compare->getOperand(0), nest.compare->getOperand(1)};
  operands[nest.is_inner_first ? 0 : 1] = value;
  Value *condition =
      builder.CreateFCmp(nest.compare->getPredicate(), operands[0], operands[1]);
  bool is_inner_true = nest.outer->getTrueValue() == nest.inner;
  return builder.CreateSelect(
      condition, is_inner_true ? value : nest.bound, is_inner_true ? nest.bound : value);
}

void rewrite(const Nest &nest, SmallVectorImpl<SelectInst *> &selects) {
  IRBuilder<> builder(nest.outer);
  Value *for_value = outer_for(builder, nest, nest.value);
  Value *for_bound = outer_for(builder, nest, nest.inner_bound);
  bool is_value_true = nest.inner->getTrueValue() == nest.value;
  Value *result = builder.CreateSelect(nest.inner->getCondition(),
      is_value_true ? for_value : for_bound, is_value_true ? for_bound : for_value);
  nest.outer->replaceAllUsesWith(result);
  nest.outer->eraseFromParent();
  // The value may come from such a select itself, which the new one now stands on.
  auto *created = dyn_cast<SelectInst>(for_value);
  if (created && for_value != nest.value) selects.push_back(created);
}

void guard(Function &function) {
  SmallVector<SelectInst *, 16> selects;
  for (Instruction &instruction : instructions(function)) {
    auto *select = dyn_cast<SelectInst>(&instruction);
    if (select && select->getType()->isFPOrFPVectorTy()) selects.push_back(select);
  }
  // Chains add a select per link; only a cycle, in code that is never reached, has no end.
  size_t limit = 4 * selects.size();
  for (size_t i = 0; i < selects.size() && i < limit; ++i) {
    Nest nest;
    if (match_nest(selects[i], true, nest) || match_nest(selects[i], false, nest))
      rewrite(nest, selects);
  }
}

}  // namespace

namespace iwh {

void guard_minmax(PassInstrumentationCallbacks &callbacks) {
  callbacks.registerBeforeNonSkippedPassCallback([](StringRef pass, Any unit) {
    auto *function = any_cast<const Function *>(&unit);
    if (function && pass == "InstCombinePass") guard(const_cast<Function &>(**function));
  });
}

}  // namespace iwh
