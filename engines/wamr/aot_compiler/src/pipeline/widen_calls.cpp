// Which calls can be widened.

#include <llvm/IR/IntrinsicsX86.h>

#include "widen_graph.h"

using namespace llvm;

namespace iwh {
namespace {

struct TargetForms {
  Intrinsic::ID narrow, twice, four_times;
};

// The wide forms work on each 128 bits by themselves, which is just what merging needs.
constexpr TargetForms kTargetForms[] = {
    {Intrinsic::x86_sse2_pmadd_wd, Intrinsic::x86_avx2_pmadd_wd,
     Intrinsic::x86_avx512_pmaddw_d_512},
    {Intrinsic::x86_ssse3_pmadd_ub_sw_128, Intrinsic::x86_avx2_pmadd_ub_sw,
     Intrinsic::x86_avx512_pmaddubs_w_512},
    {Intrinsic::x86_ssse3_pmul_hr_sw_128, Intrinsic::x86_avx2_pmul_hr_sw,
     Intrinsic::x86_avx512_pmul_hr_sw_512},
    {Intrinsic::x86_ssse3_pshuf_b_128, Intrinsic::x86_avx2_pshuf_b,
     Intrinsic::x86_avx512_pshuf_b_512},
    {Intrinsic::x86_sse2_packssdw_128, Intrinsic::x86_avx2_packssdw,
     Intrinsic::x86_avx512_packssdw_512},
    {Intrinsic::x86_sse2_packsswb_128, Intrinsic::x86_avx2_packsswb,
     Intrinsic::x86_avx512_packsswb_512},
    {Intrinsic::x86_sse2_packuswb_128, Intrinsic::x86_avx2_packuswb,
     Intrinsic::x86_avx512_packuswb_512},
    {Intrinsic::x86_sse41_packusdw, Intrinsic::x86_avx2_packusdw,
     Intrinsic::x86_avx512_packusdw_512},
    // Relaxed SIMD. The widest form of the second one has operands of its own.
    {Intrinsic::x86_avx512_vpdpbusd_128, Intrinsic::x86_avx512_vpdpbusd_256,
     Intrinsic::x86_avx512_vpdpbusd_512},
    {Intrinsic::x86_sse2_cvttps2dq, Intrinsic::x86_avx_cvtt_ps2dq_256, Intrinsic::not_intrinsic},
};

}  // namespace

Intrinsic::ID wide_target_intrinsic(Intrinsic::ID id, unsigned count) {
  for (const TargetForms &forms : kTargetForms)
    if (forms.narrow == id)
      return count == 2 ? forms.twice : count == 4 ? forms.four_times : Intrinsic::not_intrinsic;
  return Intrinsic::not_intrinsic;
}

bool is_lanewise_call(const CallInst &call, unsigned count) {
  switch (Intrinsic::ID id = call.getIntrinsicID()) {
    case Intrinsic::fabs: case Intrinsic::sqrt: case Intrinsic::ceil: case Intrinsic::floor:
    case Intrinsic::trunc: case Intrinsic::rint: case Intrinsic::nearbyint:
    case Intrinsic::roundeven: case Intrinsic::fma: case Intrinsic::copysign:
    case Intrinsic::minnum: case Intrinsic::maxnum: case Intrinsic::minimum:
    case Intrinsic::maximum: case Intrinsic::abs: case Intrinsic::smin: case Intrinsic::smax:
    case Intrinsic::umin: case Intrinsic::umax: case Intrinsic::sadd_sat:
    case Intrinsic::uadd_sat: case Intrinsic::ssub_sat: case Intrinsic::usub_sat:
    case Intrinsic::ctpop: case Intrinsic::ctlz: case Intrinsic::cttz: case Intrinsic::fshl:
    case Intrinsic::fshr: case Intrinsic::fptosi_sat: case Intrinsic::fptoui_sat:
      return isa<FixedVectorType>(call.getType());
    default:
      return wide_target_intrinsic(id, count) != Intrinsic::not_intrinsic;
  }
}

}  // namespace iwh
