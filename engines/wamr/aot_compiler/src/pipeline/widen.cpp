// Merges equal 128-bit operations into wide ones.
//
// WebAssembly's vectors have 128 bits, so a kernel for a wider machine is a set of 128-bit
// operations side by side. From each run of stores to neighbouring places the pass follows the
// values back: four additions become one, then the four multiplications that feed them, up to the
// loads. LLVM's own -slp-revec does the same by options of the whole process, without integer
// dot products, and begins its groups of stores where it likes.

#include <llvm/ADT/PostOrderIterator.h>
#include <llvm/Analysis/AliasAnalysis.h>
#include <llvm/IR/Module.h>

#include "passes.h"
#include "widen_cost.h"
#include "widen_emit.h"
#include "widen_graph.h"
#include "widen_schedule.h"

using namespace llvm;

namespace iwh {
namespace {

constexpr unsigned kPartBits = 128;

struct Seed {
  int64_t byte_offset;
  StoreInst *store;
};

// The stores of a block, sorted by place, per object and type. The runs are in the order of their
// first stores, so that the same program gives the same code each time.
std::vector<std::vector<Seed>> stores_of(BasicBlock &block, const DataLayout &layout) {
  std::vector<std::vector<Seed>> runs;
  std::map<std::tuple<Value *, Value *, Type *>, size_t> known;
  for (Instruction &instruction : block) {
    auto *store = dyn_cast<StoreInst>(&instruction);
    if (!store || !store->isSimple()) continue;
    auto *type = dyn_cast<FixedVectorType>(store->getValueOperand()->getType());
    if (!type || type->getPrimitiveSizeInBits().getFixedValue() != kPartBits) continue;
    MemoryPlace place = memory_place(store->getPointerOperand(), layout);
    auto [found, is_new] = known.try_emplace({place.base, place.index, type}, runs.size());
    if (is_new) runs.emplace_back();
    runs[found->second].push_back({place.byte_offset, store});
  }
  for (auto &run : runs)
    std::stable_sort(run.begin(), run.end(), [](const Seed &left, const Seed &right) {
      return left.byte_offset < right.byte_offset;
    });
  return runs;
}

void add_stores(BasicBlock &block, Graph &graph, unsigned count, const DataLayout &layout) {
  for (auto &run : stores_of(block, layout)) {
    SmallVector<Value *, 4> group;
    int64_t next = 0;
    for (const Seed &seed : run) {
      if (seed.byte_offset != next) group.clear();
      group.push_back(seed.store);
      next = seed.byte_offset + kPartBits / 8;
      if (group.size() < count) continue;
      graph.add_stores(group);
      group.clear();
    }
  }
}

// What a phi gets from the loop's body: only phis of equal chains of operations can be merged.
const Value *from_body(const PHINode &phi, const Loop &loop) {
  for (unsigned index = 0; index < phi.getNumIncomingValues(); index++)
    if (loop.contains(phi.getIncomingBlock(index))) return phi.getIncomingValue(index);
  return nullptr;
}

unsigned opcode_of(const Value *value) {
  auto *instruction = dyn_cast_or_null<Instruction>(value);
  return instruction ? instruction->getOpcode() : 0;
}

// Accumulators that do not end in neighbouring stores, in the order of the phis.
void add_phis(BasicBlock &block, Graph &graph, unsigned count, const LoopInfo &loops) {
  const Loop *loop = loops.getLoopFor(&block);
  if (!loop || loop->getHeader() != &block) return;
  // Only looked up: its order is that of addresses, which differ from run to run.
  std::map<std::pair<Type *, unsigned>, SmallVector<Value *, 4>> alike;
  for (PHINode &phi : block.phis()) {
    auto *type = dyn_cast<FixedVectorType>(phi.getType());
    if (!type || type->getPrimitiveSizeInBits().getFixedValue() != kPartBits) continue;
    unsigned opcode = opcode_of(from_body(phi, *loop));
    if (!opcode || graph.owner(&phi)) continue;
    auto &group = alike[{type, opcode}];
    group.push_back(&phi);
    if (group.size() < count) continue;
    graph.add_phis(group);
    group.clear();
  }
}

using Orders = std::map<BasicBlock *, std::vector<Instruction *>>;

class Widener {
 public:
  Widener(Function &function, FunctionAnalysisManager &analyses)
      : function(function),
        layout(function.getParent()->getDataLayout()),
        target(analyses.getResult<TargetIRAnalysis>(function)),
        loops(analyses.getResult<LoopAnalysis>(function)),
        aliases(analyses.getResult<AAManager>(function)) {}

  bool run(unsigned bit_width) {
    unsigned count = bit_width / kPartBits;
    Graph graph(layout, count, bit_width);
    ReversePostOrderTraversal<Function *> blocks(&function);
    for (BasicBlock *block : blocks) add_stores(*block, graph, count, layout);
    for (BasicBlock *block : blocks) add_phis(*block, graph, count, loops);
    if (graph.all().empty()) return false;
    Selection selection(graph, target, loops);
    Orders orders;
    do selection.drop_unprofitable();
    while (!order(graph, orders));
    if (orders.empty()) return false;
    Emitter emitter(graph);
    for (BasicBlock *block : blocks)
      if (auto found = orders.find(block); found != orders.end())
        emitter.emit_block(*block, found->second);
    emitter.finish();
    return true;
  }

 private:
  // Finds an order for each block with groups. Groups that there is none for are dropped; false if
  // there were any.
  bool order(Graph &graph, Orders &orders) {
    orders.clear();
    bool found_all = true;
    for (auto &group : graph.all()) {
      if (!group->merged() || orders.count(group->block())) continue;
      Schedule found = schedule(*group->block(), graph, aliases, layout);
      for (Group *stuck : found.stuck) stuck->dropped = true;
      found_all &= found.stuck.empty();
      orders[group->block()] = std::move(found.order);
    }
    return found_all;
  }

  Function &function;
  const DataLayout &layout;
  const TargetTransformInfo &target;
  const LoopInfo &loops;
  AAResults &aliases;
};

}  // namespace

PreservedAnalyses WidenPass::run(Function &function, FunctionAnalysisManager &analyses) {
  bool changed = false;
  for (unsigned width = bit_width; width > kPartBits; width /= 2)
    changed |= Widener(function, analyses).run(width);
  if (!changed) return PreservedAnalyses::all();
  PreservedAnalyses preserved;
  preserved.preserveSet<CFGAnalyses>();
  return preserved;
}

}  // namespace iwh
