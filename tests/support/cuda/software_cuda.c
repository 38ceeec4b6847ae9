/* A libcuda.so.1 without a GPU: one device whose memory is the host's. What is queued on a stream is done when somebody
 * waits for it, so that whoever does not wait reads what was never written; device addresses lie where the host cannot
 * read them; what is touched outside of an allocation breaks the context for good (700), as a real one does.
 *
 *     cc -shared -fPIC -O1 -ffp-contract=off -Wl,-soname,libcuda.so.1 -o libcuda.so.1 software_cuda.c -lpthread -ldl
 *
 * SOFTWARE_CUDA_DEVICES=0           no device: cuInit answers 100
 * SOFTWARE_CUDA_INTEGRATED=1        a device that shares the processor's memory
 * SOFTWARE_CUDA_NAME=text           its name
 * SOFTWARE_CUDA_BUSY=n              so many questions whether a stream is done are answered "not ready"
 * SOFTWARE_CUDA_FAIL=name:n:code    the n-th call of that function fails so ("*": of any); 700 and above break the context
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHIFT ((uintptr_t)1 << 46) /* of device addresses: no process has memory there */
#define SLOTS 4096
#define DEPTH 32
enum { DEVICE, HOST, STREAM, EVENT, GRAPH, EXEC, KINDS };
static const char *const KIND_NAMES[KINDS] = {"device", "host", "stream", "event", "graph", "exec"};

typedef struct op { struct op *next; int kind; char *to; const char *from, *other; size_t n, m, k, rows; unsigned char byte; } op;
typedef struct { op *first, *last; } queue;
typedef struct thing { int kind; char *memory; size_t size; queue ops; int capturing, spoilt, busy; void *stream; } thing;
enum { COPY, FILL, MIX };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static thing *things[SLOTS];
static long live[KINDS], made[KINDS], retained, n_calls, fail_after, fail_seen, launches;
static int fail_code, sticky, started, context_object;
static char fail_name[64], failed_name[64];
static __thread void *stack[DEPTH];
static __thread int depth, calls_here;
static __thread thing *captured_here;
#define CONTEXT ((void *)&context_object)

static int setting(const char *name, int otherwise) { const char *text = getenv(name); return text ? atoi(text) : otherwise; }

static void read_settings(void) {
    static int done;
    if (done) return;
    done = 1;
    const char *text = getenv("SOFTWARE_CUDA_FAIL");
    if (text && sscanf(text, "%63[^:]:%ld:%d", fail_name, &fail_after, &fail_code) != 3) fail_after = 0;
}

/* Every function goes through here: counted, and failed where that was asked for. */
static int enter(const char *name, int survives) {
    read_settings();
    calls_here++;
    n_calls++;
    if (fail_after > 0 && (fail_name[0] == '*' || !strcmp(fail_name, name)) && ++fail_seen >= fail_after) {
        fail_after = 0;
        snprintf(failed_name, sizeof failed_name, "%s", name);
        if (fail_code >= 700) { if (retained) sticky = fail_code; }
        return fail_code;
    }
    return survives ? 0 : sticky;
}
static int leave(int code) { pthread_mutex_unlock(&lock); return code; }
#define BEGIN(survives) pthread_mutex_lock(&lock); { int failed = enter(__func__, survives); if (failed) return leave(failed); }
/* What undoes something does it whatever it answers: errors of earlier work are told by any call. */
#define BEGIN_UNDO pthread_mutex_lock(&lock); int failed = enter(__func__, 1);
#define BEGIN_FREE pthread_mutex_lock(&lock); int failed = enter(__func__, 0); if (sticky) return leave(failed);
#define WITH_CONTEXT if (!depth || stack[depth - 1] != CONTEXT || !retained) return leave(201);
#define NOT_CAPTURING if (captured_here && known(captured_here, STREAM)) { captured_here->spoilt = 1; return leave(900); }

static thing *make(int kind, size_t size) {
    for (int i = 0; i < SLOTS; i++)
        if (!things[i]) {
            thing *fresh = calloc(1, sizeof(thing));
            fresh->kind = kind;
            fresh->size = size;
            if (size) {
                if (posix_memalign((void **)&fresh->memory, 512, size)) { free(fresh); return NULL; }
                memset(fresh->memory, 0xff, size); /* not a number, in every float type */
            }
            live[kind]++;
            made[kind]++;
            return things[i] = fresh;
        }
    return NULL;
}
static void clear(queue *ops) {
    for (op *each = ops->first; each;) { op *next = each->next; free(each); each = next; }
    ops->first = ops->last = NULL;
}
static int drop(thing *gone, int kind) {
    for (int i = 0; i < SLOTS; i++)
        if (gone && things[i] == gone && gone->kind == kind) {
            things[i] = NULL;
            live[kind]--;
            clear(&gone->ops);
            if (gone->memory) { memset(gone->memory, 0xfe, gone->size); free(gone->memory); }
            free(gone);
            return 0;
        }
    return 400;
}
static thing *known(void *handle, int kind) {
    for (int i = 0; i < SLOTS; i++) if (things[i] && things[i] == handle && things[i]->kind == kind) return things[i];
    return NULL;
}
static thing *holder(const char *at, size_t n) {
    for (int i = 0; i < SLOTS; i++)
        if (things[i] && things[i]->memory && at >= things[i]->memory && at + n <= things[i]->memory + things[i]->size) return things[i];
    return NULL;
}
/* The memory behind a device's address; mapped memory of the host has one too. */
static char *behind(uintptr_t address, size_t n) {
    char *at = (char *)(address - SHIFT);
    return address >= SHIFT && holder(at, n) ? at : NULL;
}
static int append(thing *to, op what) {
    op *fresh = malloc(sizeof(op));
    *fresh = what;
    fresh->next = NULL;
    if (to->ops.last) to->ops.last->next = fresh; else to->ops.first = fresh;
    to->ops.last = fresh;
    return 0;
}
static int put(void *stream, op what) {
    thing *on = known(stream, STREAM);
    if (!on) return 400;
    if (!what.to || (what.kind != FILL && !what.from)) { sticky = 700; return 0; } /* found out when it runs */
    return append(on, what);
}
static void perform(thing *on) {
    for (op *each = on->ops.first; each; each = each->next) {
        if (each->kind == COPY) memmove(each->to, each->from, each->n);
        if (each->kind == FILL) memset(each->to, each->byte, each->n);
        if (each->kind == MIX)
            for (size_t row = 0; row < each->rows; row++)
                for (size_t j = 0; j < each->k; j++)
                    ((float *)each->to)[row * each->k + j] =
                        ((const float *)each->from)[row * each->n + j % each->n] * (float)(j + 1) +
                        ((const float *)each->other)[row * each->m + j % each->m];
    }
    clear(&on->ops);
}
static int settle(void *stream, int asks) {
    thing *on = known(stream, STREAM);
    if (!on) return 400;
    if (on->capturing) { on->spoilt = 1; return 900; }
    if (asks && on->busy-- > 0) return 600;
    perform(on);
    on->busy = setting("SOFTWARE_CUDA_BUSY", 0);
    return sticky;
}

/* For tests. */
long software_count(const char *what) {
    for (int i = 0; i < KINDS; i++) if (!strcmp(what, KIND_NAMES[i])) return live[i];
    if (!strncmp(what, "made ", 5)) for (int i = 0; i < KINDS; i++) if (!strcmp(what + 5, KIND_NAMES[i])) return made[i];
    if (!strcmp(what, "retained")) return retained;
    if (!strcmp(what, "queued")) { /* on any stream, and not done */
        long n = 0;
        for (int i = 0; i < SLOTS; i++)
            if (things[i] && things[i]->kind == STREAM) for (op *each = things[i]->ops.first; each; each = each->next) n++;
        return n;
    }
    if (!strcmp(what, "current")) return depth; /* contexts of this thread */
    if (!strcmp(what, "calls")) return n_calls;
    if (!strcmp(what, "launches")) return launches; /* of graphs */
    if (!strcmp(what, "pending")) return fail_after > 0; /* a failure that was asked for */
    return -1;
}
/* The n-th call from now fails; of that function, or of any ("*"). From 700 on the context is broken for good. */
void software_fail(const char *name, long n, int code) {
    pthread_mutex_lock(&lock);
    snprintf(fail_name, sizeof fail_name, "%s", name);
    fail_seen = 0;
    fail_after = n;
    fail_code = code;
    pthread_mutex_unlock(&lock);
}
/* The function that failed last because that was asked for. */
const char *software_failed(void) { return failed_name; }
/* Any of the calls from now on. */
void software_fail_after(long n) { software_fail("*", n, 719); }
/* A kernel: y[r, j] = a[r, j mod n] * (j + 1) + b[r, j mod m], float32, j < k. */
int software_mix(uintptr_t y, uintptr_t a, uintptr_t b, size_t rows, size_t n, size_t m, size_t k, void *stream) {
    BEGIN(0) WITH_CONTEXT
    op what = {0, MIX, behind(y, 4 * rows * k), behind(a, 4 * rows * n), behind(b, 4 * rows * m), n, m, k, rows, 0};
    if (!what.other) what.from = NULL;
    return leave(put(stream, what));
}

/* Driver and device. */
int cuInit(unsigned flags) { (void)flags; BEGIN(1) if (!setting("SOFTWARE_CUDA_DEVICES", 1)) return leave(100); started = 1; return leave(0); }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetCount(int *n) { BEGIN(1) if (!started) return leave(3); *n = 1; return leave(0); }
int cuDeviceGet(int *device, int ordinal) { BEGIN(1) if (!started) return leave(3); *device = 0; return leave(ordinal ? 101 : 0); }
int cuDeviceGetName(char *name, int n, int device) {
    (void)device;
    const char *text = getenv("SOFTWARE_CUDA_NAME");
    snprintf(name, (size_t)n, "%s", text ? text : "Software");
    return 0;
}
int cuDeviceComputeCapability(int *major, int *minor, int device) { (void)device; *major = 9; *minor = 0; return 0; }
int cuDeviceTotalMem_v2(size_t *n, int device) { (void)device; *n = (size_t)8 << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    int integrated = setting("SOFTWARE_CUDA_INTEGRATED", 0);
    *value = attribute == 16 ? 132 : attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 18 ? integrated : attribute == 19 || attribute == 41;
    return 0;
}
int cuGetErrorString(int code, const char **text) {
    *text = code == 0 ? "no error" : code == 2 ? "out of memory" : code == 100 ? "no CUDA-capable device is detected"
          : code == 201 ? "invalid device context" : code == 400 ? "invalid resource handle"
          : code == 600 ? "device not ready" : code == 700 ? "an illegal memory access was encountered"
          : code == 719 ? "unspecified launch failure" : code == 900 ? "operation not permitted when stream is capturing"
          : code == 901 ? "operation failed due to a previous error during capture" : "unknown error";
    return 0;
}
int cuGetErrorName(int code, const char **text) {
    *text = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : code == 100 ? "CUDA_ERROR_NO_DEVICE" : code == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS"
          : code == 719 ? "CUDA_ERROR_LAUNCH_FAILED" : "CUDA_ERROR_UNKNOWN";
    return 0;
}

/* The primary context, and this thread's stack of them. */
int cuDevicePrimaryCtxRetain(void **context, int device) {
    (void)device;
    BEGIN(1)
    if (!started) return leave(3);
    retained++;
    *context = CONTEXT;
    return leave(0);
}
int cuDevicePrimaryCtxRelease_v2(int device) {
    (void)device;
    BEGIN_UNDO
    if (!retained) return leave(201);
    if (--retained == 0) { /* what it held goes with it */
        for (int i = 0; i < SLOTS; i++) if (things[i]) drop(things[i], things[i]->kind);
        sticky = 0;
    }
    return leave(failed);
}
int cuCtxPushCurrent_v2(void *context) { BEGIN(1) if (depth == DEPTH) return leave(999); stack[depth++] = context; return leave(0); }
int cuCtxPopCurrent_v2(void **context) { BEGIN_UNDO if (!depth) return leave(201); depth--; if (context) *context = stack[depth]; return leave(failed); }
int cuCtxGetCurrent(void **context) { *context = depth ? stack[depth - 1] : NULL; return 0; }
int cuCtxSetCurrent(void *context) { BEGIN(1) if (depth) depth--; if (context) stack[depth++] = context; return leave(0); }
int cuCtxGetDevice(int *device) { *device = 0; return depth ? 0 : 201; }
int cuCtxSynchronize(void) {
    BEGIN(0) WITH_CONTEXT NOT_CAPTURING
    for (int i = 0; i < SLOTS; i++) if (things[i] && things[i]->kind == STREAM) perform(things[i]);
    return leave(sticky);
}

/* Memory. */
int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) { BEGIN(0) WITH_CONTEXT *free_bytes = (size_t)6 << 30; *total = (size_t)8 << 30; return leave(0); }
int cuMemAlloc_v2(uintptr_t *address, size_t n) {
    BEGIN(0) WITH_CONTEXT NOT_CAPTURING
    if (n >= (size_t)6 << 30) return leave(2);
    thing *fresh = n ? make(DEVICE, n) : NULL;
    if (!fresh) return leave(n ? 2 : 1);
    *address = (uintptr_t)fresh->memory + SHIFT;
    return leave(0);
}
int cuMemFree_v2(uintptr_t address) { BEGIN_FREE WITH_CONTEXT NOT_CAPTURING char *at = behind(address, 1); int code = drop(at ? holder(at, 1) : NULL, DEVICE); return leave(failed ? failed : code); }
int cuMemHostAlloc(void **memory, size_t n, unsigned flags) {
    (void)flags;
    BEGIN(0) WITH_CONTEXT NOT_CAPTURING
    thing *fresh = n ? make(HOST, n) : NULL;
    if (!fresh) return leave(n ? 2 : 1);
    *memory = fresh->memory;
    return leave(0);
}
int cuMemFreeHost(void *memory) { BEGIN_FREE WITH_CONTEXT NOT_CAPTURING int code = drop(holder(memory, 1), HOST); return leave(failed ? failed : code); }
int cuMemHostGetDevicePointer_v2(uintptr_t *address, void *memory, unsigned flags) {
    (void)flags;
    BEGIN(0) WITH_CONTEXT
    if (!holder(memory, 1)) return leave(1);
    *address = (uintptr_t)memory + SHIFT;
    return leave(0);
}
int cuMemcpyHtoDAsync_v2(uintptr_t to, const void *from, size_t n, void *stream) { BEGIN(0) WITH_CONTEXT op what = {0, COPY, behind(to, n), from, 0, n, 0, 0, 0, 0}; return leave(put(stream, what)); }
int cuMemcpyDtoHAsync_v2(void *to, uintptr_t from, size_t n, void *stream) { BEGIN(0) WITH_CONTEXT op what = {0, COPY, to, behind(from, n), 0, n, 0, 0, 0, 0}; return leave(put(stream, what)); }
int cuMemcpyDtoDAsync_v2(uintptr_t to, uintptr_t from, size_t n, void *stream) { BEGIN(0) WITH_CONTEXT op what = {0, COPY, behind(to, n), behind(from, n), 0, n, 0, 0, 0, 0}; return leave(put(stream, what)); }
int cuMemsetD8Async(uintptr_t to, unsigned char byte, size_t n, void *stream) { BEGIN(0) WITH_CONTEXT op what = {0, FILL, behind(to, n), 0, 0, n, 0, 0, 0, byte}; return leave(put(stream, what)); }

/* Streams and events. */
int cuStreamCreate(void **stream, unsigned flags) {
    BEGIN(0) WITH_CONTEXT
    if (flags != 1) return leave(1); /* none that waits for others' work, or makes them wait */
    thing *fresh = make(STREAM, 0);
    if (!fresh) return leave(2);
    fresh->busy = setting("SOFTWARE_CUDA_BUSY", 0);
    *stream = fresh;
    return leave(0);
}
int cuStreamDestroy_v2(void *stream) {
    BEGIN_FREE WITH_CONTEXT
    thing *gone = known(stream, STREAM);
    if (gone) perform(gone);
    if (captured_here == gone) captured_here = NULL;
    int code = drop(gone, STREAM);
    return leave(failed ? failed : code);
}
int cuStreamSynchronize(void *stream) { BEGIN(0) WITH_CONTEXT return leave(settle(stream, 0)); }
int cuStreamQuery(void *stream) { BEGIN(0) WITH_CONTEXT return leave(settle(stream, 1)); }
int cuEventCreate(void **event, unsigned flags) { (void)flags; BEGIN(0) WITH_CONTEXT thing *fresh = make(EVENT, 0); *event = fresh; return leave(fresh ? 0 : 2); }
int cuEventDestroy_v2(void *event) { BEGIN_FREE WITH_CONTEXT int code = drop(known(event, EVENT), EVENT); return leave(failed ? failed : code); }
int cuEventRecord(void *event, void *stream) {
    BEGIN(0) WITH_CONTEXT
    thing *mark = known(event, EVENT);
    if (!mark || !known(stream, STREAM)) return leave(400);
    mark->stream = stream;
    return leave(0);
}
int cuEventSynchronize(void *event) { BEGIN(0) WITH_CONTEXT thing *mark = known(event, EVENT); return leave(mark ? mark->stream ? settle(mark->stream, 0) : 0 : 400); }
int cuEventQuery(void *event) { BEGIN(0) WITH_CONTEXT thing *mark = known(event, EVENT); return leave(mark ? mark->stream ? settle(mark->stream, 1) : 0 : 400); }

/* Graphs. */
int cuStreamBeginCapture_v2(void *stream, int mode) {
    BEGIN(0) WITH_CONTEXT
    thing *on = known(stream, STREAM);
    if (!on) return leave(400);
    perform(on);
    on->capturing = 1;
    on->spoilt = 0;
    if (mode != 2) captured_here = on; /* relaxed */
    return leave(0);
}
int cuStreamEndCapture(void *stream, void **graph) {
    BEGIN_UNDO WITH_CONTEXT
    thing *on = known(stream, STREAM);
    *graph = NULL;
    if (!on || !on->capturing) return leave(on ? 1 : 400);
    on->capturing = 0;
    captured_here = NULL;
    if (!failed) failed = on->spoilt ? 901 : sticky;
    if (failed) { clear(&on->ops); return leave(failed); }
    thing *fresh = make(GRAPH, 0);
    if (!fresh) return leave(2);
    fresh->ops = on->ops;
    on->ops.first = on->ops.last = NULL;
    *graph = fresh;
    return leave(0);
}
int cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags) {
    (void)flags;
    BEGIN(0) WITH_CONTEXT
    thing *from = known(graph, GRAPH), *fresh = from ? make(EXEC, 0) : NULL;
    if (!fresh) return leave(from ? 2 : 400);
    for (op *each = from->ops.first; each; each = each->next) append(fresh, *each);
    *exec = fresh;
    return leave(0);
}
int cuStreamIsCapturing(void *stream, int *status) { BEGIN(1) thing *on = known(stream, STREAM); *status = on && on->capturing; return leave(on ? 0 : 400); }
int cuGraphDestroy(void *graph) { BEGIN_FREE int code = drop(known(graph, GRAPH), GRAPH); return leave(failed ? failed : code); }
int cuGraphExecDestroy(void *exec) { BEGIN_FREE int code = drop(known(exec, EXEC), EXEC); return leave(failed ? failed : code); }
int cuGraphLaunch(void *exec, void *stream) {
    BEGIN(0) WITH_CONTEXT
    thing *from = known(exec, EXEC), *on = known(stream, STREAM);
    if (!from || !on) return leave(400);
    launches++;
    for (op *each = from->ops.first; each; each = each->next) append(on, *each);
    return leave(0);
}

/* How cuda-bindings finds functions: the newest of a name. */
int cuGetProcAddress_v2(const char *name, void **function, int version, unsigned long long flags, int *status) {
    (void)version;
    (void)flags;
    static const char *const ends[] = {"_v4", "_v3", "_v2", "WithFlags", ""};
    char full[128];
    *function = NULL;
    for (int i = 0; i < 5 && !*function; i++) {
        snprintf(full, sizeof full, "%s%s", name, ends[i]);
        *function = dlsym(dlopen("libcuda.so.1", RTLD_NOLOAD | RTLD_NOW), full);
    }
    if (status) *status = *function ? 0 : 1;
    return *function ? 0 : 500;
}

/* What pycuda links to, by the CUDA version it was compiled for, and nobody here calls. */
#define NONE(name) int name(void) { return 801; }
NONE(cuArray3DCreate_v2) NONE(cuArray3DGetDescriptor_v2) NONE(cuArrayCreate_v2) NONE(cuArrayDestroy)
NONE(cuArrayGetDescriptor_v2) NONE(cuCtxAttach) NONE(cuCtxCreate_v4) NONE(cuCtxDetach) NONE(cuCtxDisablePeerAccess)
NONE(cuCtxEnablePeerAccess) NONE(cuCtxGetApiVersion) NONE(cuCtxGetCacheConfig) NONE(cuCtxGetLimit)
NONE(cuCtxGetSharedMemConfig) NONE(cuCtxSetCacheConfig) NONE(cuCtxSetLimit) NONE(cuCtxSetSharedMemConfig)
NONE(cuDeviceCanAccessPeer) NONE(cuDeviceGetByPCIBusId) NONE(cuDeviceGetPCIBusId) NONE(cuEventElapsedTime_v2)
NONE(cuFuncGetAttribute) NONE(cuFuncSetAttribute) NONE(cuFuncSetBlockShape) NONE(cuFuncSetCacheConfig)
NONE(cuFuncSetSharedSize) NONE(cuIpcCloseMemHandle) NONE(cuIpcGetEventHandle) NONE(cuIpcGetMemHandle)
NONE(cuIpcOpenEventHandle) NONE(cuIpcOpenMemHandle_v2) NONE(cuLaunch) NONE(cuLaunchGrid) NONE(cuLaunchGridAsync)
NONE(cuLaunchKernel) NONE(cuLinkAddData_v2) NONE(cuLinkAddFile_v2) NONE(cuLinkComplete) NONE(cuLinkCreate_v2)
NONE(cuLinkDestroy) NONE(cuMemAllocManaged) NONE(cuMemAllocPitch_v2) NONE(cuMemGetAddressRange_v2)
NONE(cuMemHostGetFlags) NONE(cuMemHostRegister_v2) NONE(cuMemHostUnregister) NONE(cuMemcpy2DAsync_v2)
NONE(cuMemcpy2DUnaligned_v2) NONE(cuMemcpy2D_v2) NONE(cuMemcpy3DAsync_v2) NONE(cuMemcpy3DPeer)
NONE(cuMemcpy3DPeerAsync) NONE(cuMemcpy3D_v2) NONE(cuMemcpyAtoA_v2) NONE(cuMemcpyAtoD_v2) NONE(cuMemcpyAtoH_v2)
NONE(cuMemcpyDtoA_v2) NONE(cuMemcpyDtoD_v2) NONE(cuMemcpyDtoH_v2) NONE(cuMemcpyHtoA_v2) NONE(cuMemcpyHtoD_v2)
NONE(cuMemcpyPeer) NONE(cuMemcpyPeerAsync) NONE(cuMemsetD16Async) NONE(cuMemsetD16_v2) NONE(cuMemsetD2D16Async)
NONE(cuMemsetD2D16_v2) NONE(cuMemsetD2D32Async) NONE(cuMemsetD2D32_v2) NONE(cuMemsetD2D8Async) NONE(cuMemsetD2D8_v2)
NONE(cuMemsetD32Async) NONE(cuMemsetD32_v2) NONE(cuMemsetD8_v2) NONE(cuModuleGetFunction) NONE(cuModuleGetGlobal_v2)
NONE(cuModuleGetSurfRef) NONE(cuModuleGetTexRef) NONE(cuModuleLoad) NONE(cuModuleLoadData) NONE(cuModuleLoadDataEx)
NONE(cuModuleUnload) NONE(cuParamSetSize) NONE(cuParamSetTexRef) NONE(cuParamSetf) NONE(cuParamSeti) NONE(cuParamSetv)
NONE(cuProfilerInitialize) NONE(cuProfilerStart) NONE(cuProfilerStop) NONE(cuStreamAttachMemAsync)
NONE(cuStreamWaitEvent) NONE(cuSurfRefGetArray) NONE(cuSurfRefSetArray) NONE(cuTexRefCreate) NONE(cuTexRefDestroy)
NONE(cuTexRefGetAddressMode) NONE(cuTexRefGetAddress_v2) NONE(cuTexRefGetArray) NONE(cuTexRefGetFilterMode)
NONE(cuTexRefGetFlags) NONE(cuTexRefGetFormat) NONE(cuTexRefSetAddress2D_v3) NONE(cuTexRefSetAddressMode)
NONE(cuTexRefSetAddress_v2) NONE(cuTexRefSetArray) NONE(cuTexRefSetFilterMode) NONE(cuTexRefSetFlags)
NONE(cuTexRefSetFormat)
NONE(cuCtxCreate_v2) NONE(cuCtxCreate_v3) NONE(cuEventElapsedTime)
