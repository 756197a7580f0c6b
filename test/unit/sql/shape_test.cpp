#include <gtest/gtest.h>

#include <string>

#include "protocols/postgres/sql_shape.hpp"
#include "test/unit/sql/oracle_shapes.hpp"

namespace breakwater::postgres::sql {
namespace {

std::string with_digits(std::string text, int step) {
    for (char& c : text)
        if (c >= '0' && c <= '9') c = static_cast<char>('0' + (c - '0' + step) % 10);
    return text;
}

TEST(Shape, remembers_what_quick_said_whatever_the_numbers) {
    QuickByShape shapes;
    for (const char* shape : kShapes) {
        for (int step = 0; step < 10; ++step) {
            const std::string text = with_digits(shape, step);
            EXPECT_EQ(shapes.quick(text), quick(text)) << text;
            EXPECT_EQ(shapes.quick(text + ";"), quick(text + ";")) << text;
        }
    }
}

// Texts that look alike but for what follows a digit, or stands before it.
TEST(Shape, takes_nothing_for_a_number_that_is_none) {
    QuickByShape shapes;
    for (const std::string& text :
         {std::string("select f1(1)"), std::string("select f2 (1)"), std::string("select now()"),
          std::string("select 1"), std::string("select 22"), std::string("select 3 "), std::string("select 1.5"),
          std::string("select 1e5"), std::string("select $1"), std::string("select '1'"), std::string("select (1"),
          std::string("select ' 1 "), std::string("select 1 \\ 2"), std::string("select E'\\'' , 1 , '"),
          std::string("update t set a = 1"), std::string("update t set a = 1 where evil(1)"), std::string("")}) {
        for (int step = 0; step < 10; ++step) {
            const std::string other = with_digits(text, step);
            EXPECT_EQ(shapes.quick(other), quick(other)) << other;
        }
    }
}

TEST(Shape, of_a_long_text_is_not_kept) {
    QuickByShape shapes;
    const std::string read = "select " + std::string(1000, '1');
    EXPECT_EQ(shapes.quick(read), Quick::plain_read);
    EXPECT_EQ(shapes.quick("delete from t where a = " + std::string(1000, '1')), Quick::plain_write);
    EXPECT_EQ(shapes.quick(read), Quick::plain_read);
}

// More shapes than there is room for: the later ones take the earlier ones' places, and none the other's answer.
TEST(Shape, that_was_displaced_is_read_anew) {
    QuickByShape shapes;
    for (int round = 0; round < 2; ++round) {
        for (int i = 0; i < 1000; ++i) {
            const std::string name = "t" + std::to_string(i);
            EXPECT_EQ(shapes.quick("select a from " + name), Quick::plain_read);
            EXPECT_EQ(shapes.quick("delete from " + name + " where b = 7"), Quick::plain_write);
            EXPECT_EQ(shapes.quick("select " + name + "(7)"), Quick::needs_analysis);
        }
    }
}

}  // namespace
}  // namespace breakwater::postgres::sql
