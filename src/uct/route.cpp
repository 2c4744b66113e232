// SPDX-License-Identifier: BSD-3-Clause

#include "uct/route.hpp"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cstring>

#include "channel/fd.hpp"

namespace bulk::uct {
namespace {

struct Request {
  nlmsghdr header;
  rtmsg route;
  char attributes[2 * RTA_SPACE(16)];
};

void add_address(Request& request, unsigned short type, std::span<const std::byte> ip) {
  auto* attribute =
      reinterpret_cast<rtattr*>(reinterpret_cast<char*>(&request) + NLMSG_ALIGN(request.header.nlmsg_len));
  attribute->rta_type = type;
  attribute->rta_len = static_cast<unsigned short>(RTA_LENGTH(ip.size()));
  std::memcpy(RTA_DATA(attribute), ip.data(), ip.size());
  request.header.nlmsg_len =
      static_cast<unsigned>(NLMSG_ALIGN(request.header.nlmsg_len) + RTA_SPACE(ip.size()));
}

Route parse(const nlmsghdr* answer) {
  const auto* route = reinterpret_cast<const rtmsg*>(answer + 1);
  Route result{.interface = 0, .local = route->rtm_type == RTN_LOCAL};
  if (route->rtm_type != RTN_UNICAST && route->rtm_type != RTN_LOCAL) return {};

  auto rest = static_cast<unsigned>(RTM_PAYLOAD(answer));
  for (const rtattr* attribute = RTM_RTA(route); RTA_OK(attribute, rest);
       attribute = RTA_NEXT(attribute, rest)) {
    if (attribute->rta_type == RTA_OIF && RTA_PAYLOAD(attribute) >= sizeof(result.interface))
      std::memcpy(&result.interface, RTA_DATA(attribute), sizeof(result.interface));
  }
  return result;
}

}  // namespace

Route route_to(const Address& to, const Address& from) {
  const auto destination = to.ip();
  const auto source = from.ip();
  Request request{};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof(rtmsg));
  request.header.nlmsg_type = RTM_GETROUTE;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.route.rtm_family = static_cast<unsigned char>(to.family());
  request.route.rtm_dst_len = static_cast<unsigned char>(destination.size() * 8);
  add_address(request, RTA_DST, destination);
  if (source.size() == destination.size()) {
    request.route.rtm_src_len = static_cast<unsigned char>(source.size() * 8);
    add_address(request, RTA_SRC, source);
  }

  const Fd socket_fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket_fd.valid()) return {};
  const timeval patience{.tv_sec = 1, .tv_usec = 0};  // the kernel answers at once
  static_cast<void>(setsockopt(socket_fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
  if (send(socket_fd.get(), &request, request.header.nlmsg_len, 0) < 0) return {};

  alignas(nlmsghdr) char buffer[4096];
  const ssize_t received = recv(socket_fd.get(), buffer, sizeof(buffer), 0);
  const auto* answer = reinterpret_cast<const nlmsghdr*>(buffer);
  if (received < 0 || !NLMSG_OK(answer, static_cast<unsigned>(received)) ||
      answer->nlmsg_type != RTM_NEWROUTE)
    return {};
  return parse(answer);
}

Route Routes::to(const Address& to, const Address& from) {
  constexpr std::chrono::seconds lifetime{1};
  const auto now = Clock::now();
  if (now - since_ > lifetime) {
    known_.clear();
    since_ = now;
  }
  const auto [place, is_new] = known_.try_emplace(to.ip_text() + " " + from.ip_text());
  if (is_new) place->second = route_to(to, from);
  return place->second;
}

}  // namespace bulk::uct
