// Orders a block so that the parts of a group can be replaced in one place.
//
// Edges are uses, and memory accesses that may overlap. A group is one node; where its parts
// depend on one another, or on parts of another group both ways, the graph has a cycle.

#include "widen_schedule.h"

#include <llvm/Analysis/MemoryLocation.h>
#include <llvm/Analysis/ValueTracking.h>

#include <queue>

using namespace llvm;

namespace iwh {
namespace {

constexpr size_t kMaxAccesses = 3000;  // of one block: their pairs are compared

struct Access {
  Instruction *instruction;
  bool writes;
  bool simple;  // a plain load or store; anything else keeps its place among all accesses
  MemoryPlace place;
  int64_t byte_length;
};

// What may trap or not return stays where it is among the accesses.
bool is_pure(const Instruction &instruction) {
  if (instruction.mayReadOrWriteMemory() || instruction.mayHaveSideEffects()) return false;
  return isa<CallBase>(instruction) || isSafeToSpeculativelyExecute(&instruction);
}

class Scheduler {
 public:
  Scheduler(BasicBlock &block, Graph &graph, AAResults &aliases, const DataLayout &layout)
      : graph(graph), aliases(aliases), layout(layout) {
    for (Instruction &instruction : block)
      if (!isa<PHINode>(instruction) && !instruction.isTerminator()) number(instruction);
    successors.resize(units.size());
    waiting.resize(units.size());
  }

  Schedule run() {
    Schedule result;
    if (!add_memory_edges()) {
      for (auto &unit : units)
        if (Group *group = merged_owner(unit[0])) result.stuck.insert(group);
      return result;
    }
    add_uses();
    std::priority_queue<size_t, std::vector<size_t>, std::greater<size_t>> ready;
    for (size_t unit = 0; unit < units.size(); unit++)
      if (waiting[unit] == 0) ready.push(unit);
    size_t done = 0;
    while (!ready.empty()) {
      size_t unit = ready.top();
      ready.pop();
      done++;
      for (Instruction *instruction : units[unit]) result.order.push_back(instruction);
      for (size_t next : successors[unit])
        if (--waiting[next] == 0) ready.push(next);
    }
    if (done < units.size()) find_stuck(result.stuck);
    return result;
  }

 private:
  Group *merged_owner(Instruction *instruction) const {
    Group *group = graph.owner(instruction);
    return group && group->merged() ? group : nullptr;
  }

  // The groups on cycles: of the units that never got ready, those that another one waits for.
  void find_stuck(SmallPtrSet<Group *, 8> &stuck) {
    std::vector<std::vector<size_t>> predecessors(units.size());
    std::vector<size_t> followers(units.size());
    std::vector<size_t> last;
    for (size_t unit = 0; unit < units.size(); unit++) {
      if (waiting[unit] == 0) continue;
      for (size_t next : successors[unit]) {
        predecessors[next].push_back(unit);
        followers[unit]++;
      }
      if (followers[unit] == 0) last.push_back(unit);
    }
    std::vector<bool> free(units.size());
    while (!last.empty()) {
      size_t unit = last.back();
      last.pop_back();
      free[unit] = true;
      for (size_t previous : predecessors[unit])
        if (--followers[previous] == 0) last.push_back(previous);
    }
    for (size_t unit = 0; unit < units.size(); unit++)
      if (waiting[unit] > 0 && !free[unit])
        if (Group *group = merged_owner(units[unit][0])) stuck.insert(group);
  }

  void number(Instruction &instruction) {
    if (numbers.count(&instruction)) return;
    Group *group = merged_owner(&instruction);
    units.emplace_back();
    if (!group) units.back().push_back(&instruction);
    else for (Value *part : group->parts) units.back().push_back(cast<Instruction>(part));
    for (Instruction *member : units.back()) numbers[member] = units.size() - 1;
  }

  void add_edge(const Instruction *from, const Instruction *to) {
    size_t first = numbers.lookup(from), second = numbers.lookup(to);
    if (first == second) return;
    successors[first].push_back(second);
    waiting[second]++;
  }

  void add_uses() {
    for (auto &unit : units)
      for (Instruction *instruction : unit)
        for (Value *operand : instruction->operands()) {
          auto *used = dyn_cast<Instruction>(operand);
          if (!used || !numbers.count(used)) continue;
          // A part that needs another part of its own group can never be merged with it.
          size_t unit = numbers.lookup(instruction);
          if (numbers.lookup(used) != unit) add_edge(used, instruction);
          else successors[unit].push_back(unit), waiting[unit]++;
        }
  }

  bool add_memory_edges() {
    std::vector<Access> accesses;
    std::vector<Instruction *> in_order(numbers.size());
    for (auto &unit : units)
      for (Instruction *instruction : unit) collect(*instruction, accesses);
    if (accesses.size() > kMaxAccesses) return false;
    llvm::sort(accesses, [](const Access &left, const Access &right) {
      return left.instruction->comesBefore(right.instruction);
    });
    BatchAAResults batch(aliases);
    for (size_t second = 0; second < accesses.size(); second++)
      for (size_t first = 0; first < second; first++)
        if (conflict(accesses[first], accesses[second], batch))
          add_edge(accesses[first].instruction, accesses[second].instruction);
    return true;
  }

  void collect(Instruction &instruction, std::vector<Access> &accesses) const {
    auto *load = dyn_cast<LoadInst>(&instruction);
    auto *store = dyn_cast<StoreInst>(&instruction);
    bool simple = (load && load->isSimple()) || (store && store->isSimple());
    if (!simple && is_pure(instruction)) return;
    Access access{&instruction, !simple || store, simple, {}, 0};
    if (simple) {
      access.place = memory_place(getLoadStorePointerOperand(&instruction), layout);
      access.byte_length = layout.getTypeStoreSize(getLoadStoreType(&instruction)).getFixedValue();
    }
    accesses.push_back(access);
  }

  bool conflict(const Access &left, const Access &right, BatchAAResults &batch) const {
    if (!left.writes && !right.writes) return false;
    if (!left.simple || !right.simple) return true;
    if (left.place.same_object(right.place))
      return left.place.byte_offset < right.place.byte_offset + right.byte_length &&
             right.place.byte_offset < left.place.byte_offset + left.byte_length;
    auto first = MemoryLocation::get(left.instruction);
    return batch.alias(first, MemoryLocation::get(right.instruction)) != AliasResult::NoAlias;
  }

  Graph &graph;
  AAResults &aliases;
  const DataLayout &layout;
  std::vector<SmallVector<Instruction *, 4>> units;
  DenseMap<const Instruction *, size_t> numbers;
  std::vector<std::vector<size_t>> successors;
  std::vector<size_t> waiting;
};

}  // namespace

Schedule schedule(BasicBlock &block, Graph &graph, AAResults &aliases, const DataLayout &layout) {
  return Scheduler(block, graph, aliases, layout).run();
}

}  // namespace iwh
