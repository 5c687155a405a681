// Opens the libraries of a libtorch for all that is loaded afterwards: the addon names none and where none is, so that
// one file serves every copy of its version. Needs no libtorch itself.
#include <dlfcn.h>
#include <node_api.h>

#include <string>

namespace {

// open(file): undefined, or why it cannot be opened.
napi_value Open(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument = nullptr;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  size_t length = 0;
  napi_value result = nullptr;
  napi_get_undefined(env, &result);
  if (napi_get_value_string_utf8(env, argument, nullptr, 0, &length) != napi_ok) return result;
  std::string file(length, '\0');
  napi_get_value_string_utf8(env, argument, file.data(), length + 1, &length);
  if (dlopen(file.c_str(), RTLD_LAZY | RTLD_GLOBAL)) return result;
  napi_create_string_utf8(env, dlerror(), NAPI_AUTO_LENGTH, &result);
  return result;
}

napi_value Init(napi_env env, napi_value exports) {
  napi_value open = nullptr;
  napi_create_function(env, "open", NAPI_AUTO_LENGTH, Open, nullptr, &open);
  napi_set_named_property(env, exports, "open", open);
  return exports;
}

}  // namespace

NAPI_MODULE(NODE_GYP_MODULE_NAME, Init)
