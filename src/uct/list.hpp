// SPDX-License-Identifier: BSD-3-Clause
//
// A doubly linked list through members of its elements: entering and leaving allocate nothing, and an element
// that is destroyed leaves its list by itself.

#pragma once

namespace bulk::uct {

template <class T>
class List;

// Member of an element, which it knows; in at most one list at a time.
template <class T>
class ListLink {
 public:
  explicit ListLink(T& owner) : owner_(&owner) {}
  ListLink(const ListLink&) = delete;
  ListLink& operator=(const ListLink&) = delete;
  ~ListLink() { unlink(); }

  bool linked() const { return next_ != this; }

  void unlink() {
    previous_->next_ = next_;
    next_->previous_ = previous_;
    previous_ = next_ = this;
  }

 private:
  friend class List<T>;
  ListLink() = default;  // a list's own end

  ListLink* previous_ = this;
  ListLink* next_ = this;
  T* owner_ = nullptr;
};

template <class T>
class List {
 public:
  bool empty() const { return !end_.linked(); }

  // Takes the element to the end, out of whatever list it is in.
  void push_back(ListLink<T>& link) {
    link.unlink();
    link.previous_ = end_.previous_;
    link.next_ = &end_;
    end_.previous_->next_ = &link;
    end_.previous_ = &link;
  }

  // Null if empty.
  T* pop_front() {
    if (empty()) return nullptr;
    ListLink<T>* link = end_.next_;
    link->unlink();
    return link->owner_;
  }

  // Takes all elements of `other` to the end, in order.
  void take_all(List& other) {
    while (!other.empty())
      push_back(*other.end_.next_);
  }

 private:
  ListLink<T> end_;
};

}  // namespace bulk::uct
