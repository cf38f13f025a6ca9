-- What is left of a count after so many seconds. What nobody can see any more is nothing: the smallest of numbers would
-- be too small to be multiplied, which is an error.
create or replace function faded_count(counted float8, age float8, memory float8) returns float8
  language sql immutable parallel safe
  return case when counted < 1e-6 or age > 14 * memory then 0 else counted * exp(-greatest(age, 0) / memory) end;
