#include "kernels/cuda/product_key.h"

#include <algorithm>

namespace nll::cuda {
namespace {

int alignment(const void* pointer) {
  if (pointer == nullptr) return 0;
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  if (address % 256 == 0) return 256;
  if (address % 16 == 0) return 16;
  return static_cast<int>(address & (~address + 1));  // its lowest bit
}

const char* name(Product product) { return product == Product::nn ? "nn" : product == Product::nt ? "nt" : "tn"; }

const char* name(DType type) { return type == DType::bf16 ? "bf16" : type == DType::f16 ? "f16" : "f32"; }

const char* name(Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::bias:
      return "bias";
    case Epilogue::gelu_bias:
      return "gelu_bias";
    case Epilogue::gelu_backward:
      return "gelu_backward";
    case Epilogue::bias_gradient:
      return "bias_gradient";
    case Epilogue::none:
      break;
  }
  return "none";
}

}  // namespace

std::string ProductKey::text() const {
  std::string text = name(product);
  text += " " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k);
  text += std::string(" ") + name(in) + " " + name(out) + " " + name(epilogue) + (add ? " add" : " write");
  text += std::string(tf32 ? " tf32" : "") + (deterministic ? "" : " in_any_order") + " align";
  for (const int bytes : {align_a, align_b, align_c, align_bias}) text += " " + std::to_string(bytes);
  return text;
}

ProductKey key_of(const GemmCall& call, bool tf32, bool deterministic) {
  ProductKey key{call.product, call.m, call.n, call.k, call.in, call.out, call.epilogue, call.beta != 0};
  key.tf32 = tf32 && call.in == DType::f32;
  key.deterministic = deterministic;
  key.align_a = alignment(call.a);
  key.align_b = alignment(call.b);
  key.align_c = alignment(call.c);
  if (call.auxiliary != nullptr) key.align_c = std::min(key.align_c, alignment(call.auxiliary));
  key.align_bias = alignment(call.bias);
  return key;
}

}  // namespace nll::cuda
