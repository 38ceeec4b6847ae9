/* Stands in for TensorRT's libraries, so that its Python bindings can be imported and their signatures read: every entry
   point answers "nothing". Compiled by tensorrt_tools.py. */

#include <stddef.h>

#define NOTHING(name) \
    void *name(void) { return NULL; }

NOTHING(createInferBuilder_INTERNAL)
NOTHING(createInferRefitter_INTERNAL)
NOTHING(createInferRuntime_INTERNAL)
NOTHING(createNvOnnxParserRefitter_INTERNAL)
NOTHING(createNvOnnxParser_INTERNAL)
NOTHING(getBuilderPluginRegistry)
NOTHING(getNvOnnxParserVersion)
NOTHING(getPluginRegistry)
NOTHING(initLibNvInferPlugins)
