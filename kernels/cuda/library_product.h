// LibraryProduct: one kind of matrix product as cuBLASLt describes it. The library is column-major: what we call
// c (m,n) row-major it calls D (n,m), so its first factor is our b and its second our a, and a sum over our columns of
// c is a sum over its rows of D.
#pragma once
#include <cublasLt.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include "kernels/cuda/product_key.h"

namespace nll::cuda {

// Throws where the library answers anything but success: "cuda: <what>: <its name for the answer>".
void check(cublasStatus_t outcome, const char* what);

class Library {
 public:
  Library() { check(cublasLtCreate(&handle_), "starting cuBLASLt"); }
  ~Library() { (void)cublasLtDestroy(handle_); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  cublasLtHandle_t get() const { return handle_; }

 private:
  cublasLtHandle_t handle_ = nullptr;
};

// An algorithm for one kind of product.
struct Algorithm {
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspace_bytes = 0;
};

class LibraryProduct {
 public:
  LibraryProduct(const Library& library, const ProductKey& key);
  // The algorithms the library recommends for calls like this one, best guess first; none where it has none.
  std::vector<Algorithm> algorithms(const GemmCall& call, std::size_t workspace_bytes) const;
  // An algorithm from a file, where it is one for calls like this one here.
  std::optional<Algorithm> checked(const cublasLtMatmulAlgo_t& algorithm, const GemmCall& call,
                                   std::size_t workspace_bytes) const;
  // Queues it. The answer is not success where the algorithm cannot run with these operands after all.
  cublasStatus_t run(const Algorithm& algorithm, const GemmCall& call, void* workspace, std::size_t workspace_bytes,
                     cudaStream_t stream) const;

 private:
  template <class Handle>
  using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, cublasStatus_t (*)(Handle)>;

  void point_at(const GemmCall& call) const;  // bias and auxiliary matrix

  const Library& library_;
  ProductKey key_;
  Owned<cublasLtMatmulDesc_t> description_{nullptr, cublasLtMatmulDescDestroy};
  Owned<cublasLtMatrixLayout_t> first_{nullptr, cublasLtMatrixLayoutDestroy};
  Owned<cublasLtMatrixLayout_t> second_{nullptr, cublasLtMatrixLayoutDestroy};
  Owned<cublasLtMatrixLayout_t> result_{nullptr, cublasLtMatrixLayoutDestroy};
};

}  // namespace nll::cuda
