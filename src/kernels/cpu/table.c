/* Compiled once per instruction set (Makefile: ISA, VECTOR_BYTES and the -m flags). All kernels are static, so the table is the object's
 * only symbol: kernels_scalar, kernels_avx2, kernels_avx512, kernels_avx512bf16, kernels_amx, kernels_neon. */
#include "kernels/kernels.h"

#include "base/clock.h"
#include "kernels/cpu/vector.h"
#include "kernels/thread_room.h"

#include "kernels/cpu/peak.c"
#include "kernels/cpu/packing.c"
#include "kernels/cpu/stored_rows.c"
#include "kernels/cpu/rounded.c"
#include "kernels/cpu/few_rows.c"
#include "kernels/cpu/rows_in_place.c"
#include "kernels/cpu/panels.c"
#include "kernels/cpu/ahead.c"
#include "kernels/cpu/turned_product.c"
#include "kernels/cpu/products.c"
#include "kernels/cpu/attention_blocks.c"
#include "kernels/cpu/dots_int8.c"
#include "kernels/cpu/products_int8.c"
#include "kernels/cpu/rows.c"
#include "kernels/cpu/blocks.c"
#include "kernels/cpu/factored_product.c"
#include "kernels/cpu/gates.c"
#include "kernels/cpu/drop.c"
#include "kernels/cpu/lstm_step.c"

#if defined(__AVX512BF16__) && REAL_BYTES == 4
#include "kernels/cpu/products_bf16.c"
#define BF16_ENTRIES .products_bf16 = &products_bf16, .peak_flops_bf16 = peak_flops_bf16,
#else
#define BF16_ENTRIES
#endif

#ifdef HAS_INT8_DOT
#define INT8_PEAK .peak_flops_int8 = peak_flops_int8,
#else
#define INT8_PEAK
#endif

#define TABLE_NAME_(isa) kernels_##isa
#define TABLE_NAME(isa) TABLE_NAME_(isa)
#define TEXT_(isa) #isa
#define TEXT(isa) TEXT_(isa)

const struct kernels TABLE_NAME(ISA) = {
    .name = TEXT(ISA),
    .products = {false, linear, linear_dx, linear_dw, linear_stored, attention, attention_backward, packed_size, pack_rows, squares_size,
                 worth_packing},
    .products_int8 = {false, linear, linear_dx, linear_dw, linear_stored_int8, attention, attention_backward, packed_size, pack_rows, squares_size,
                      worth_packing},
    .rmsnorm = rmsnorm,
    .rmsnorm_backward = rmsnorm_backward,
    .rotate = rotate,
    .add_bias = add_bias,
    .add_bias_backward = add_bias_backward,
    .softmax = softmax,
    .softmax_backward = softmax_backward,
    .log_sum_exp = log_sum_exp,
    .swiglu = swiglu,
    .swiglu_backward = swiglu_backward,
    .swiglu_bounded = swiglu_bounded,
    .swiglu_bounded_backward = swiglu_bounded_backward,
    .relu = relu,
    .relu_backward = relu_backward,
    .cross_entropy = cross_entropy,
    .add = add,
    .stored_rows = stored_rows,
    .gather = gather,
    .scatter_add = scatter_add,
    .sum_rows = sum_rows,
    .column_sums = column_sums,
    .lstm = lstm,
    .lstm_backward = lstm_backward,
    .choose = choose,
    .normals = normals,
    .noisy = noisy,
    .noisy_backward = noisy_backward,
    .chances = chances,
    .chances_backward = chances_backward,
    .dropout = dropout,
    .sum_squares = sum_squares,
    .adamw = adamw,
    .factored = factored,
    .factored_product = factored_product,
    .peak_flops = peak_flops,
    BF16_ENTRIES INT8_PEAK};
