// The kernels of one instruction set: this file is compiled once for each, with its flags and its name VISURF_LEVEL.
#include "attention.h"
#include "decoding.h"
#include "delta.h"
#include "dropout.h"
#include "kernels.h"
#include "rows.h"
#include "sampling.h"

#define VISURF_NAME(level) VISURF_NAME_OF(level)
#define VISURF_NAME_OF(level) #level
#define VISURF_TABLE(level) VISURF_TABLE_OF(level)
#define VISURF_TABLE_OF(level) level##Kernels

namespace visurf {

namespace {

template <class T>
constexpr Kernels<T> all{normRows<T>,         normRowsBackward<T>, rotateTokens<T>, gateRows<T>,
                         gateRowsBackward<T>, dropRows<T>,         attendHead<T>,   attendHeadBackward<T>,
                         attendToken<T>,      decodeRows<T>,       deltaToken<T>,   sampleRow<T>};

}  // namespace

extern const Level VISURF_TABLE(VISURF_LEVEL);
constexpr Level VISURF_TABLE(VISURF_LEVEL){VISURF_NAME(VISURF_LEVEL), all<float>, all<double>};

}  // namespace visurf
