// A CUDA runtime that computes nothing. It takes the place of NVIDIA's libraries under the CUDA build of libtorch, whose
// dispatcher, device checks, allocator, autograd threads, choice of kernels and launches are the real ones. Kernels and
// products are counted and not run; memory of the device is address space in which the host finds a fault, as on a
// card; copies to the host give zeros. So it knows what is asked of a card, how often, and how much memory it would
// hold, and no number and no time. As an addon of Node.js it tells what it counted.
#include <cuda_runtime_api.h>
#include <cxxabi.h>
#include <node_api.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>

namespace {

constexpr auto* kName = "a card that computes nothing";

struct State {
  std::mutex mutex;
  std::unordered_map<const void*, std::string> kernels;
  std::unordered_map<const void*, double> launches;
  std::map<std::string, double> counts;
  std::map<const void*, size_t> blocks;
  size_t live = 0, peak = 0, total = bytes();
  bool capturing = false;

  static size_t bytes() {
    const char* gigabytes = std::getenv("DRY_RUN_GB");
    return static_cast<size_t>((gigabytes ? std::strtod(gigabytes, nullptr) : 80) * 1e9);
  }
};

// Never destroyed: libraries that are loaded later let go of their memory after it.
State& state() {
  static auto* only = new State;
  return *only;
}

void count(const std::string& what, double amount = 1) {
  const std::lock_guard lock(state().mutex);
  state().counts[what] += amount;
}

// What is recorded in a graph is launched with it.
void launch(const void* kernel) {
  const std::lock_guard lock(state().mutex);
  if (state().capturing)
    state().counts["captured"] += 1;
  else
    state().launches[kernel] += 1;
}

// C [m, n] += A [m, k] B [k, n], so many of them; type is NVIDIA's number of a data type.
int product(int64_t m, int64_t n, int64_t k, int64_t batch, int type) {
  static const std::map<int, const char*> names{{0, "float32"}, {1, "float64"}, {2, "float16"}, {14, "bfloat16"}};
  const auto found = names.find(type);
  const std::string name = found == names.end() ? "type" + std::to_string(type) : found->second;
  const bool captured = state().capturing;
  char shape[96];
  std::snprintf(shape, sizeof shape, " %ldx%ldx%ldx%ld", m, n, k, batch);
  count(captured ? "captured" : "product " + name + shape);
  return 0;
}

size_t pages(size_t bytes) { return (bytes + 4095) / 4096 * 4096; }

cudaError_t allocate(void** place, size_t bytes) {
  auto& s = state();
  const std::lock_guard lock(s.mutex);
  const size_t size = (std::max<size_t>(bytes, 1) + 511) / 512 * 512;
  s.counts["allocations"] += 1;
  if (s.live + size > s.total) return cudaErrorMemoryAllocation;
  void* block = mmap(nullptr, pages(size), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) return cudaErrorMemoryAllocation;
  s.blocks[block] = size;
  s.peak = std::max(s.peak, s.live += size);
  *place = block;
  return cudaSuccess;
}

cudaError_t release(void* place) {
  auto& s = state();
  const std::lock_guard lock(s.mutex);
  const auto found = s.blocks.find(place);
  if (!place) return cudaSuccess;
  if (found == s.blocks.end()) return cudaErrorInvalidValue;
  munmap(place, pages(found->second));
  s.live -= found->second;
  s.blocks.erase(found);
  return cudaSuccess;
}

bool onDevice(const void* place) {
  const std::lock_guard lock(state().mutex);
  auto found = state().blocks.upper_bound(place);
  if (found == state().blocks.begin()) return false;
  --found;
  return static_cast<const char*>(place) < static_cast<const char*>(found->first) + found->second;
}

cudaError_t copy(void* to, const void* from, size_t bytes) {
  const bool toDevice = onDevice(to), fromDevice = onDevice(from);
  const std::string kind = toDevice ? (fromDevice ? "within" : "to device") : fromDevice ? "to host" : "on host";
  count("copies " + kind);
  count("bytes " + kind, static_cast<double>(bytes));
  if (!toDevice && fromDevice) std::memset(to, 0, bytes);
  if (!toDevice && !fromDevice) std::memmove(to, from, bytes);
  return cudaSuccess;
}

void* fresh() {
  static std::atomic<uintptr_t> last = 0x1000;
  return reinterpret_cast<void*>(last += 16);
}

template <class Handle>
cudaError_t give(Handle* place) {
  *place = static_cast<Handle>(fresh());
  return cudaSuccess;
}

thread_local struct {
  dim3 grid, block;
  size_t shared;
  void* stream;
} pushed;
thread_local int device = 0;

long nothing() { return 0; }

std::string readable(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  const std::string result = text ? text : name;
  std::free(text);
  return result;
}

// counts(): all that was counted since the last call, as JSON; "peak" and "live" are bytes of the device
napi_value counts(napi_env env, napi_callback_info) {
  auto& s = state();
  const std::lock_guard lock(s.mutex);
  for (const auto& [kernel, times] : s.launches) {
    const auto name = s.kernels.find(kernel);
    s.counts["kernel " + (name == s.kernels.end() ? "without a name" : readable(name->second))] += times;
  }
  std::string json = "{";
  for (const auto& [what, amount] : s.counts) {
    std::string quoted;
    for (const char c : what) quoted += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    char number[32];
    std::snprintf(number, sizeof number, "%.0f", amount);
    json += "\"" + quoted + "\":" + number + ",";
  }
  json += "\"live\":" + std::to_string(s.live) + ",\"peak\":" + std::to_string(s.peak) + "}";
  s.counts.clear();
  s.launches.clear();
  s.peak = s.live;
  napi_value result;
  napi_create_string_utf8(env, json.c_str(), json.size(), &result);
  return result;
}

int collective() {
  count("collectives");
  return 0;
}

}  // namespace

extern "C" {

napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  napi_value function;
  napi_create_function(env, "counts", NAPI_AUTO_LENGTH, counts, nullptr, &function);
  napi_set_named_property(env, exports, "counts", function);
  return exports;
}

// ---- Kernels
void** __cudaRegisterFatBinary(void*) {
  static void* handle;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, void*, void*, void*, void*, int*) {
  state().kernels[host] = name;
}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void* stream) {
  pushed = {grid, block, shared, stream};
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  *grid = pushed.grid;
  *block = pushed.block;
  *shared = pushed.shared;
  *static_cast<void**>(stream) = pushed.stream;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3, dim3, void**, size_t, cudaStream_t) {
  launch(kernel);
  return cudaSuccess;
}
cudaError_t cudaLaunchKernel(const void* kernel, dim3, dim3, void**, size_t, cudaStream_t) {
  launch(kernel);
  return cudaSuccess;
}
cudaError_t cudaLaunchCooperativeKernel(const void* kernel, dim3, dim3, void**, size_t, cudaStream_t) {
  launch(kernel);
  return cudaSuccess;
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t*, const void* kernel, void**) {
  launch(kernel);
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  *attributes = {};
  attributes->maxThreadsPerBlock = 1024;
  attributes->binaryVersion = attributes->ptxVersion = 90;
  attributes->numRegs = 32;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int, size_t) {
  *blocks = 4;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int, size_t, unsigned) {
  *blocks = 4;
  return cudaSuccess;
}

// ---- The card: what an H100 says of itself
cudaError_t cudaGetDeviceCount(int* devices) {
  const char* given = std::getenv("DRY_RUN_CARDS");
  *devices = given ? std::atoi(given) : 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* current) {
  *current = device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int next) {
  device = next;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* card, int) {
  *card = {};
  std::strcpy(card->name, kName);
  card->totalGlobalMem = state().total;
  card->major = 9;
  card->warpSize = 32;
  card->multiProcessorCount = 132;
  card->maxThreadsPerBlock = card->maxThreadsDim[0] = card->maxThreadsDim[1] = 1024;
  card->maxThreadsDim[2] = 64;
  card->maxThreadsPerMultiProcessor = 2048;
  card->maxGridSize[0] = 2147483647;
  card->maxGridSize[1] = card->maxGridSize[2] = 65535;
  card->regsPerBlock = card->regsPerMultiprocessor = 65536;
  card->sharedMemPerBlock = 49152;
  card->sharedMemPerBlockOptin = 232448;
  card->sharedMemPerMultiprocessor = 233472;
  card->totalConstMem = 65536;
  card->textureAlignment = 512;
  card->l2CacheSize = 52428800;
  card->maxBlocksPerMultiProcessor = 32;
  card->canMapHostMemory = card->concurrentKernels = card->unifiedAddressing = card->managedMemory = 1;
  card->cooperativeLaunch = card->streamPrioritiesSupported = card->memoryPoolsSupported = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  static const std::map<int, int> values{
      {cudaDevAttrMaxThreadsPerBlock, 1024},
      {cudaDevAttrMaxGridDimX, 2147483647},
      {cudaDevAttrMaxGridDimY, 65535},
      {cudaDevAttrMaxGridDimZ, 65535},
      {cudaDevAttrMaxSharedMemoryPerBlock, 49152},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, 232448},
      {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 233472},
      {cudaDevAttrMaxRegistersPerMultiprocessor, 65536},
      {cudaDevAttrMaxBlocksPerMultiprocessor, 32},
      {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
      {cudaDevAttrWarpSize, 32},
      {cudaDevAttrMultiProcessorCount, 132},
      {cudaDevAttrComputeCapabilityMajor, 9},
      {cudaDevAttrComputeCapabilityMinor, 0},
  };
  const auto found = values.find(attribute);
  *value = found == values.end() ? 1 : found->second;
  return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "out of memory" : "no error";
}
const char* cudaGetErrorName(cudaError_t) { return "cudaError"; }
cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  *function = reinterpret_cast<void*>(nothing);
  if (result) *result = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}

// ---- The driver, as far as it is asked for what there is
int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int* version) { return cudaDriverGetVersion(version); }
int cuGetErrorString(int, const char** text) {
  *text = "no error";
  return 0;
}
int cuDeviceGetCount(int* devices) { return cudaGetDeviceCount(devices); }
int cuDeviceGet(int* card, int number) {
  *card = number;
  return 0;
}
int cuDeviceGetName(char* name, int length, int) {
  std::snprintf(name, static_cast<size_t>(length), "%s", kName);
  return 0;
}
int cuDeviceTotalMem_v2(size_t* bytes, int) {
  *bytes = state().total;
  return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
  return cudaDeviceGetAttribute(value, static_cast<cudaDeviceAttr>(attribute), 0);
}

// ---- Memory
cudaError_t cudaMalloc(void** place, size_t bytes) { return allocate(place, bytes); }
cudaError_t cudaFree(void* place) { return release(place); }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = state().total;
  *free = state().total - state().live;
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** place, size_t bytes, unsigned) {
  *place = std::aligned_alloc(4096, pages(bytes));
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* place) {
  std::free(place);
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* place) {
  *attributes = {};
  attributes->type = onDevice(place) ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered;
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  count("synchronisations");
  return copy(to, from, bytes);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  return copy(to, from, bytes);
}
cudaError_t cudaMemsetAsync(void*, int, size_t, cudaStream_t) {
  count(state().capturing ? "captured" : "fills");
  return cudaSuccess;
}
cudaError_t cudaMemset(void* place, int value, size_t bytes) { return cudaMemsetAsync(place, value, bytes, nullptr); }
cudaError_t cudaGetSymbolAddress(void** place, const void* symbol) {
  *place = const_cast<void*>(symbol);
  return cudaSuccess;
}

// ---- Streams, events, graphs
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  *stream = static_cast<cudaStream_t>(fresh());
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return cudaStreamCreateWithPriority(stream, 0, 0);
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  count("synchronisations");
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() { return cudaStreamSynchronize(nullptr); }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaStreamSynchronize(nullptr); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = static_cast<cudaEvent_t>(fresh());
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 1;
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = state().capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id,
                                     cudaGraph_t* graph, const cudaGraphNode_t**, const cudaGraphEdgeData**,
                                     size_t* dependencies) {
  if (id) *id = 1;
  if (graph) *graph = static_cast<cudaGraph_t>(fresh());
  if (dependencies) *dependencies = 0;
  return cudaStreamIsCapturing(stream, status);
}
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  state().capturing = true;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  state().capturing = false;
  *graph = static_cast<cudaGraph_t>(fresh());
  return cudaSuccess;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t, cudaGraphNode_t*, size_t* nodes) {
  *nodes = 1;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* graph, cudaGraph_t, unsigned long long) {
  *graph = static_cast<cudaGraphExec_t>(fresh());
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* graph, cudaGraph_t whole, unsigned long long flags) {
  return cudaGraphInstantiate(graph, whole, flags);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) {
  count("graphs");
  return cudaSuccess;
}

// ---- cuBLAS. Parameters that nobody reads are left out: callers clean up their own arguments.
int cublasCreate_v2(void** handle) {
  *handle = fresh();
  return 0;
}
int cublasGetMathMode(void*, int* mode) { return *mode = 0; }
int cublasGetPointerMode_v2(void*, int* mode) { return *mode = 0; }
int cublasSgemm_v2(void*, int, int, int m, int n, int k, ...) { return product(m, n, k, 1, 0); }
int cublasDgemm_v2(void*, int, int, int m, int n, int k, ...) { return product(m, n, k, 1, 1); }
int cublasGemmEx(void*, int, int, int m, int n, int k, const void*, const void*, int type, ...) {
  return product(m, n, k, 1, type);
}
int cublasSgemmStridedBatched(void*, int, int, int m, int n, int k, const void*, const void*, int, int64_t, const void*,
                              int, int64_t, const void*, void*, int, int64_t, int batch) {
  return product(m, n, k, batch, 0);
}
int cublasDgemmStridedBatched(void*, int, int, int m, int n, int k, const void*, const void*, int, int64_t, const void*,
                              int, int64_t, const void*, void*, int, int64_t, int batch) {
  return product(m, n, k, batch, 1);
}
int cublasGemmStridedBatchedEx(void*, int, int, int m, int n, int k, const void*, const void*, int type, int, int64_t,
                               const void*, int, int, int64_t, const void*, void*, int, int, int64_t, int batch, int,
                               int) {
  return product(m, n, k, batch, type);
}

// ---- cuBLASLt: the attributes that give a product's shape
struct Matrix {
  int type;
  int64_t rows, columns;
  int batch = 1;
};
struct Product {
  bool transposed = false;
};
int cublasLtMatrixLayoutCreate(Matrix** matrix, int type, uint64_t rows, uint64_t columns, int64_t) {
  *matrix = new Matrix{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns)};
  return 0;
}
int cublasLtMatrixLayoutDestroy(Matrix* matrix) {
  delete matrix;
  return 0;
}
int cublasLtMatrixLayoutSetAttribute(Matrix* matrix, int attribute, const void* value, size_t) {
  constexpr int kBatch = 5;
  if (attribute == kBatch) matrix->batch = *static_cast<const int*>(value);
  return 0;
}
int cublasLtMatmulDescCreate(Product** description, int, int) {
  *description = new Product;
  return 0;
}
int cublasLtMatmulDescDestroy(Product* description) {
  delete description;
  return 0;
}
int cublasLtMatmulDescSetAttribute(Product* description, int attribute, const void* value, size_t) {
  constexpr int kTransposeA = 3;
  if (attribute == kTransposeA) description->transposed = *static_cast<const int*>(value) != 0;
  return 0;
}
int cublasLtMatmulPreferenceCreate(void** preference) { return cublasCreate_v2(preference); }
int cublasLtMatmulAlgoGetHeuristic(void*, Product*, Matrix*, Matrix*, Matrix*, Matrix*, void*, int, void* algorithm,
                                   int* found) {
  constexpr size_t kBytes = 96;  // of a cublasLtMatmulHeuristicResult_t
  std::memset(algorithm, 0, kBytes);
  *found = 1;
  return 0;
}
int cublasLtMatmul(void*, Product* description, const void*, const void*, Matrix* a, const void*, Matrix*, const void*,
                   const void*, Matrix* c, ...) {
  const auto inner = description->transposed ? a->rows : a->columns;
  return product(c->rows, c->columns, inner, std::max(1, a->batch), a->type);
}
size_t cublasLtGetVersion() { return 130101; }

// ---- NCCL: what goes to other cards arrives, and what comes from them is whatever lies there
int ncclCommInitRankConfig(void** communicator, ...) { return cublasCreate_v2(communicator); }
int ncclAllReduce(const void*, void*, ...) { return collective(); }
int ncclReduceScatter(const void*, void*, ...) { return collective(); }
int ncclAllGather(const void*, void*, ...) { return collective(); }
int ncclBroadcast(const void*, void*, ...) { return collective(); }
int ncclCommGetAsyncError(void*, int* error) { return *error = 0; }
const char* ncclGetErrorString(int) { return "no error"; }

// ---- cuDNN
size_t cudnnGetVersion() { return 92000; }
size_t cudnnGetCudartVersion() { return 13000; }
int cudnnCreate(void** handle) { return cublasCreate_v2(handle); }
const char* cudnnGetErrorString(int) { return "there is no cuDNN in a dry run"; }
int cudnnBackendCreateDescriptor(int, void**) { return 3000; }

}  // extern "C"
