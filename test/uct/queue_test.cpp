// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "uct/iov.hpp"
#include "uct/list.hpp"
#include "uct/operation.hpp"
#include "uct/pending.hpp"

namespace {

using namespace bulk::uct;

TEST(PendingQueue, IsFirstInFirstOut) {
  std::array<uct_pending_req_t, 3> requests{};
  PendingQueue queue;
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.pop_front(), nullptr);
  for (auto& request : requests)
    queue.push_back(&request);
  EXPECT_EQ(queue.pop_front(), &requests[0]);
  queue.push_front(&requests[0]);
  for (auto& request : requests)
    EXPECT_EQ(queue.pop_front(), &request);
  EXPECT_TRUE(queue.empty());
  queue.push_front(&requests[1]);
  queue.push_back(&requests[2]);
  EXPECT_EQ(queue.pop_front(), &requests[1]);
  EXPECT_EQ(queue.pop_front(), &requests[2]);
  EXPECT_TRUE(queue.empty());
}

struct Element {
  int number = 0;
  ListLink<Element> link{*this};
};

TEST(List, KeepsOrderAndMovesElements) {
  std::array<Element, 3> elements;
  List<Element> list;
  for (auto& element : elements)
    list.push_back(element.link);
  list.push_back(elements[0].link);
  EXPECT_EQ(list.pop_front(), &elements[1]);
  List<Element> other;
  other.push_back(elements[1].link);
  other.take_all(list);
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(other.pop_front(), &elements[1]);
  EXPECT_EQ(other.pop_front(), &elements[2]);
  EXPECT_EQ(other.pop_front(), &elements[0]);
  EXPECT_EQ(other.pop_front(), nullptr);
}

TEST(List, IsLeftByElementsThatEnd) {
  List<Element> list;
  auto first = std::make_unique<Element>();
  Element second;
  list.push_back(first->link);
  list.push_back(second.link);
  first.reset();
  EXPECT_EQ(list.pop_front(), &second);
  EXPECT_TRUE(list.empty());
}

TEST(OperationPool, GivesEachOperationToOneUserAtATime) {
  OperationPool pool;
  std::vector<Operation*> taken;
  for (int i = 0; i < 300; ++i)
    taken.push_back(&pool.take(OperationKind::put, {1, 2}));
  EXPECT_EQ(pool.in_use(), 300u);
  std::sort(taken.begin(), taken.end());
  EXPECT_EQ(std::unique(taken.begin(), taken.end()), taken.end());
  for (Operation* operation : taken)
    pool.put_back(*operation);
  EXPECT_EQ(pool.in_use(), 0u);
}

TEST(Iov, CountsAndGathersStridedPieces) {
  const std::array<char, 10> bytes{'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'};
  auto* first = const_cast<char*>(bytes.data());
  const std::array<uct_iov_t, 3> iov{uct_iov_t{first, 2, nullptr, 3, 3}, uct_iov_t{first, 0, nullptr, 0, 1},
                                     uct_iov_t{first + 9, 1, nullptr, 0, 1}};
  ASSERT_EQ(total_length(iov.data(), iov.size()), 7u);
  std::string gathered(7, ' ');
  gather(iov.data(), iov.size(), reinterpret_cast<std::byte*>(gathered.data()));
  EXPECT_EQ(gathered, "abdeghj");
  EXPECT_FALSE(is_contiguous(iov[0]));
  EXPECT_TRUE(is_contiguous(iov[2]));
}

}  // namespace
