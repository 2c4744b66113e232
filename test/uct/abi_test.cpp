// SPDX-License-Identifier: BSD-3-Clause
//
// The description of UCX's plug-in interface, held against the UCX that is installed here.

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <ucs/debug/log_def.h>

#include <cstring>
#include <string>

#include "uct/abi/imports.hpp"
#include "uct/abi/runtime.hpp"

namespace {

using bulk::abi::Evidence;
using bulk::abi::Version;

TEST(InstalledUcx, ClassesHaveTheDescribedSizes) {
  EXPECT_EQ(uct_iface_t_class.size, sizeof(uct_iface_t));
  EXPECT_EQ(uct_base_iface_t_class.size, sizeof(bulk::abi::BaseIface));
  EXPECT_EQ(uct_base_ep_t_class.size, sizeof(bulk::abi::BaseEp));
  EXPECT_EQ(uct_cm_t_class.size, 1304u);
}

TEST(InstalledUcx, TcpComponentIsLaidOutAsDescribed) {
  const auto* tcp = static_cast<const bulk::abi::Component*>(dlsym(RTLD_DEFAULT, "uct_tcp_component"));
  const auto* tl = static_cast<const bulk::abi::Transport*>(dlsym(RTLD_DEFAULT, "uct_tcp_tl"));
  ASSERT_NE(tcp, nullptr);
  ASSERT_NE(tl, nullptr);

  EXPECT_STREQ(tcp->name, "tcp");
  EXPECT_STREQ(tl->name, "tcp");
  EXPECT_EQ(tcp->tl_list.next, &tl->list);
  EXPECT_EQ(tcp->tl_list.prev, &tl->list);
  EXPECT_STREQ(tl->config.prefix, "TCP_");
  EXPECT_STREQ(tcp->md_config.prefix, "TCP_");
  EXPECT_NE(tcp->md_open, nullptr);
  EXPECT_NE(tcp->md_vfs_init, nullptr);
}

TEST(InstalledUcx, TcpComponentIsInTheListOfComponents) {
  bool found = false;
  for (const auto* link = uct_components_list.next; link != &uct_components_list; link = link->next) {
    const auto* base = reinterpret_cast<const char*>(link) - offsetof(bulk::abi::Component, list);
    found = found || std::strcmp(reinterpret_cast<const bulk::abi::Component*>(base)->name, "tcp") == 0;
  }
  EXPECT_TRUE(found);
}

TEST(InstalledUcx, BaseTablesOfOptionsAreAsDescribed) {
  // The interface's own table fills IfaceConfigBase: its offsets must be fields of it.
  std::string names;
  for (const ucs_config_field_t* field = uct_iface_config_table; field->name != nullptr; ++field) {
    if (field->offset == UCS_CONFIG_DEPRECATED_FIELD_OFFSET) continue;
    EXPECT_LT(field->offset, sizeof(bulk::abi::IfaceConfigBase)) << field->name;
    names += std::string(field->name) + " ";
  }
  EXPECT_EQ(names, "ALLOC FAILURE MAX_NUM_EPS ");
}

TEST(InstalledUcx, IsOneOfTheSupportedVersions) {
  const Evidence evidence = bulk::abi::inspect();
  ASSERT_TRUE(evidence.release) << "libucp beside " << bulk::abi::library_path();
  const bulk::abi::Choice choice = bulk::abi::choose(evidence);
  ASSERT_TRUE(choice.version) << choice.why_not;
  EXPECT_EQ(std::string(bulk::abi::to_string(*choice.version)),
            std::to_string(evidence.release->major) + "." + std::to_string(evidence.release->minor));
}

TEST(InstalledUcx, KeepsTheLogLevelAtTheStartOfItsOptions) {
  EXPECT_EQ(static_cast<void*>(&ucs_global_opts), static_cast<void*>(&ucs_global_opts.log_component));
  EXPECT_STREQ(ucs_global_opts.log_component.name, "UCX");
}

// ---- choosing, with made-up evidence

Evidence evidence_of(unsigned minor) {
  const bool since_1_22 = minor >= 22;
  Evidence e;
  e.has_rkey_unpack_v2 = e.has_get_device_ep = e.has_mem_elem_pack = e.has_stub_iface_open = since_1_22;
  e.has_outstanding_purge = minor >= 23;
  e.has_vfs_refresh = !since_1_22;
  e.iface_size = 400;
  e.base_iface_size = 1280;
  e.base_ep_size = 8;
  e.cm_size = 1304;
  e.tcp_fits = true;
  e.release = bulk::abi::Release{1, minor, 0};
  return e;
}

TEST(VersionChoice, TakesEachSupportedVersion) {
  EXPECT_EQ(choose(evidence_of(18)).version, Version::v1_18);
  EXPECT_EQ(choose(evidence_of(22)).version, Version::v1_22);
  EXPECT_EQ(choose(evidence_of(23)).version, Version::v1_23);
}

void expect_refused(const Evidence& evidence, const std::string& word) {
  const bulk::abi::Choice choice = choose(evidence);
  EXPECT_FALSE(choice.version);
  ASSERT_NE(choice.why_not, nullptr);
  EXPECT_NE(std::string(choice.why_not).find(word), std::string::npos) << choice.why_not;
}

TEST(VersionChoice, RefusesVersionsItDoesNotKnow) {
  for (unsigned minor : {13u, 17u, 19u, 20u, 21u, 24u, 30u})
    expect_refused(evidence_of(minor), "known versions");
  Evidence two = evidence_of(18);
  two.release->major = 2;
  expect_refused(two, "known versions");
}

TEST(VersionChoice, RefusesWhenNobodyTellsTheVersion) {
  Evidence e = evidence_of(18);
  e.release.reset();
  expect_refused(e, "libucp");
}

TEST(VersionChoice, RefusesBuildsWithStatistics) {
  Evidence e = evidence_of(18);
  e.base_iface_size += 8;
  e.base_ep_size += 8;
  e.cm_size += 8;
  expect_refused(e, "statistics");
}

TEST(VersionChoice, RefusesOtherSizesSymbolsOrLayout) {
  Evidence e = evidence_of(18);
  e.iface_size = 408;
  expect_refused(e, "sizes");
  e = evidence_of(18);
  e.has_get_device_ep = true;
  expect_refused(e, "functions");
  e = evidence_of(23);
  e.has_outstanding_purge = false;
  expect_refused(e, "functions");
  e = evidence_of(18);
  e.tcp_fits = false;
  expect_refused(e, "laid out");
}

}  // namespace
