// SPDX-License-Identifier: BSD-3-Clause
#include "node.hpp"

#include <dlfcn.h>

#include <chrono>
#include <cstdlib>
#include <cstring>

namespace bulk::test {
namespace {

using Clock = std::chrono::steady_clock;

Clock::time_point deadline() {
  const char* limit = std::getenv("BULK_LIMIT");
  return Clock::now() + std::chrono::seconds(limit != nullptr ? std::atol(limit) : 60);
}

// As UCX before 1.22 gets it; a second time changes nothing.
void load_module() {
  const char* path = std::getenv("BULK_UCT_MODULE");
  if (dlopen(path != nullptr ? path : BULK_MODULE_PATH, RTLD_LAZY | RTLD_LOCAL) == nullptr)
    ADD_FAILURE() << dlerror();
}

uct_component_h find_component() {
  load_module();
  uct_component_h* components = nullptr;
  unsigned count = 0;
  if (uct_query_components(&components, &count) != UCS_OK) return nullptr;
  uct_component_h found = nullptr;
  for (unsigned i = 0; i < count; ++i) {
    uct_component_attr_t attr{};
    attr.field_mask = UCT_COMPONENT_ATTR_FIELD_NAME | UCT_COMPONENT_ATTR_FIELD_MD_RESOURCE_COUNT;
    if (uct_component_query(components[i], &attr) == UCS_OK && std::strcmp(attr.name, "bulk") == 0 &&
        attr.md_resource_count == 1)
      found = components[i];
  }
  uct_release_component_list(components);
  return found;
}

std::string find_device(uct_md_h md) {
  if (const char* name = std::getenv("BULK_DEVICE"); name != nullptr) return name;
  uct_tl_resource_desc_t* devices = nullptr;
  unsigned count = 0;
  if (uct_md_query_tl_resources(md, &devices, &count) != UCS_OK || count == 0) return {};
  std::string name = devices[0].dev_name;
  uct_release_tl_resource_list(devices);
  return name;
}

}  // namespace

void fill(std::span<std::byte> bytes, unsigned seed) {
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>((seed * 131 + i * 7 + i / 251) & 0xff);
}

testing::AssertionResult holds(std::span<const std::byte> bytes, unsigned seed) {
  const std::vector<std::byte> expected = pattern(bytes.size(), seed);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != expected[i])
      return testing::AssertionFailure()
             << "byte " << i << " of " << bytes.size() << " is " << std::to_integer<int>(bytes[i])
             << ", expected " << std::to_integer<int>(expected[i]);
  }
  return testing::AssertionSuccess();
}

std::vector<std::byte> pattern(std::size_t length, unsigned seed) {
  std::vector<std::byte> bytes(length);
  fill(bytes, seed);
  return bytes;
}

// ---- Node ----

Node::Node(const NodeOptions& options) : headroom_(options.rx_headroom) {
  component_ = find_component();
  if (component_ == nullptr) {
    ADD_FAILURE()
        << "UCX has no component `bulk' with a memory domain: is rdma_bulk loaded, is there a device?";
    std::exit(1);
  }
  uct_md_config_t* md_config = nullptr;
  EXPECT_EQ(uct_md_config_read(component_, nullptr, nullptr, &md_config), UCS_OK);
  EXPECT_EQ(uct_md_open(component_, "bulk", md_config, &md_), UCS_OK);
  uct_config_release(md_config);
  const std::string device = find_device(md_);

  EXPECT_EQ(ucs_async_context_create(UCS_ASYNC_MODE_THREAD_SPINLOCK, &async_), UCS_OK);
  EXPECT_EQ(uct_worker_create(async_, options.threads, &worker_), UCS_OK);

  uct_iface_config_t* config = nullptr;
  EXPECT_EQ(uct_md_iface_config_read(md_, "bulk", nullptr, nullptr, &config), UCS_OK);
  for (const auto& [name, value] : options.config)
    EXPECT_EQ(uct_config_modify(config, ("BULK_" + name).c_str(), value.c_str()), UCS_OK) << name;
  uct_iface_params_t params{};
  params.field_mask = UCT_IFACE_PARAM_FIELD_OPEN_MODE | UCT_IFACE_PARAM_FIELD_DEVICE |
                      UCT_IFACE_PARAM_FIELD_RX_HEADROOM | UCT_IFACE_PARAM_FIELD_ERR_HANDLER |
                      UCT_IFACE_PARAM_FIELD_ERR_HANDLER_ARG | UCT_IFACE_PARAM_FIELD_ERR_HANDLER_FLAGS |
                      UCT_IFACE_PARAM_FIELD_FEATURES;
  params.open_mode = UCT_IFACE_OPEN_MODE_DEVICE;
  params.mode.device.tl_name = "bulk";
  params.mode.device.dev_name = device.c_str();
  params.rx_headroom = options.rx_headroom;
  params.err_handler = on_error;
  params.err_handler_arg = this;
  params.features = UCT_IFACE_FEATURE_AM | UCT_IFACE_FEATURE_PUT | UCT_IFACE_FEATURE_GET;
  status_ = uct_iface_open(md_, worker_, &params, config, &iface_);
  uct_config_release(config);
  if (status_ != UCS_OK) return;

  uct_iface_progress_enable(iface_, UCT_PROGRESS_SEND | UCT_PROGRESS_RECV);
  handlers_.reserve(32);
  for (unsigned id = 0; id < 32; ++id) {
    handlers_.push_back({this, id});
    EXPECT_EQ(
        uct_iface_set_am_handler(iface_, static_cast<std::uint8_t>(id), on_message, &handlers_.back(), 0),
        UCS_OK);
  }
}

Node::~Node() {
  if (iface_ != nullptr) {
    release_kept();
    uct_iface_close(iface_);
  }
  uct_worker_destroy(worker_);
  ucs_async_context_destroy(async_);
  uct_md_close(md_);
}

uct_iface_attr_t Node::attr() const {
  uct_iface_attr_t attr{};
  EXPECT_EQ(uct_iface_query(iface_, &attr), UCS_OK);
  return attr;
}

std::vector<std::byte> Node::device_address() const {
  std::vector<std::byte> address(attr().device_addr_len);
  EXPECT_EQ(uct_iface_get_device_address(iface_, reinterpret_cast<uct_device_addr_t*>(address.data())),
            UCS_OK);
  return address;
}

std::vector<std::byte> Node::iface_address() const {
  std::vector<std::byte> address(attr().iface_addr_len);
  EXPECT_EQ(uct_iface_get_address(iface_, reinterpret_cast<uct_iface_addr_t*>(address.data())), UCS_OK);
  return address;
}

ucs_status_t Node::on_message(void* arg, void* data, std::size_t length, unsigned flags) {
  const Handler& handler = *static_cast<Handler*>(arg);
  Node& node = *handler.node;
  const auto* first = static_cast<const std::byte*>(data);
  node.arrived.push_back({handler.id, {first, first + length}, flags});
  if (!node.keep || (flags & UCT_CB_PARAM_FLAG_DESC) == 0) return UCS_OK;

  // The bytes in front are ours.
  std::byte* descriptor = static_cast<std::byte*>(data) - node.headroom_;
  std::memset(descriptor, 0xee, node.headroom_);
  node.kept.push_back(descriptor);
  return UCS_INPROGRESS;
}

ucs_status_t Node::on_error(void* arg, uct_ep_h ep, ucs_status_t status) {
  Node& node = *static_cast<Node*>(arg);
  node.failed.push_back({ep, status});
  if (node.on_failure) node.on_failure(ep);
  return UCS_OK;
}

void Node::release_kept() {
  for (void* descriptor : std::exchange(kept, {}))
    uct_iface_release_desc(descriptor);
}

// ---- Endpoint ----

Endpoint::Endpoint(Node& from, const std::vector<std::byte>& device, const std::vector<std::byte>& iface) {
  uct_ep_params_t params{};
  params.field_mask = UCT_EP_PARAM_FIELD_IFACE | UCT_EP_PARAM_FIELD_DEV_ADDR | UCT_EP_PARAM_FIELD_IFACE_ADDR;
  params.iface = from.iface();
  params.dev_addr = reinterpret_cast<const uct_device_addr_t*>(device.data());
  params.iface_addr = reinterpret_cast<const uct_iface_addr_t*>(iface.data());
  status_ = uct_ep_create(&params, &ep_);
}

void Endpoint::reset() {
  if (ep_ != nullptr) uct_ep_destroy(ep_);
  ep_ = nullptr;
}

// ---- Memory ----

Memory::Memory(Node& node, std::size_t length, unsigned access) : node_(node), bytes_(length) {
  EXPECT_EQ(uct_md_mem_reg(node.md(), bytes_.data(), length, access, &memh_), UCS_OK);
  uct_md_attr_t attr{};
  EXPECT_EQ(uct_md_query(node.md(), &attr), UCS_OK);
  packed_.resize(attr.rkey_packed_size);
  EXPECT_EQ(uct_md_mkey_pack(node.md(), memh_, packed_.data()), UCS_OK);
  EXPECT_EQ(uct_rkey_unpack(node.component(), packed_.data(), &bundle_), UCS_OK);
}

Memory::~Memory() {
  deregister();
  EXPECT_EQ(uct_rkey_release(node_.component(), &bundle_), UCS_OK);
}

void Memory::deregister() {
  if (memh_ == nullptr) return;
  EXPECT_EQ(uct_md_mem_dereg(node_.md(), memh_), UCS_OK);
  memh_ = nullptr;
}

uct_iov_t Memory::iov(std::size_t offset, std::size_t length) {
  return {.buffer = bytes_.data() + offset, .length = length, .memh = memh_, .stride = 0, .count = 1};
}

// ---- waiting ----

bool wait_until(std::initializer_list<Node*> nodes, const std::function<bool()>& condition) {
  const auto end = deadline();
  while (!condition()) {
    for (Node* node : nodes)
      node->progress();
    if (Clock::now() > end) return false;
  }
  return true;
}

ucs_status_t repeat(std::initializer_list<Node*> nodes, const std::function<ucs_status_t()>& operation) {
  const auto end = deadline();
  for (;;) {
    const ucs_status_t status = operation();
    if (status != UCS_ERR_NO_RESOURCE || Clock::now() > end) return status;
    for (Node* node : nodes)
      node->progress();
  }
}

std::size_t pack_bytes(void* to, void* data) {
  const auto& bytes = *static_cast<const std::vector<std::byte>*>(data);
  std::memcpy(to, bytes.data(), bytes.size());
  return bytes.size();
}

}  // namespace bulk::test
