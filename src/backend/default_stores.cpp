#include "backend/cpu/store/cpu_layer_store.h"

namespace thinkey {

const LayerStores& default_stores() noexcept {
  static const CpuLayerStores stores;
  return stores;
}

}  // namespace thinkey
