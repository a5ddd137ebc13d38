"""What order lines must look like: the table `orders`, filled from UCI Online Retail.

Figures called "seen" were counted in the bundled file (541,909 lines, 13 months); limits leave room around them.
Judged at the door by `tasks.expect`, after subjects became pseudonyms. Reviewed by the owner of the data stage.
"""

from __future__ import annotations

from expectations.declare import Expectation, Suite, complete, masked

COLUMNS = (
    "invoice_no",
    "stock_code",
    "description",
    "quantity",
    "invoice_date",
    "unit_price",
    "customer_id",
    "country",
)
# fmt: off
COUNTRIES = (
    "Australia", "Austria", "Bahrain", "Belgium", "Brazil", "Canada", "Channel Islands", "Cyprus", "Czech Republic",
    "Denmark", "EIRE", "European Community", "Finland", "France", "Germany", "Greece", "Hong Kong", "Iceland", "Israel",
    "Italy", "Japan", "Lebanon", "Lithuania", "Malta", "Netherlands", "Norway", "Poland", "Portugal", "RSA",
    "Saudi Arabia", "Singapore", "Spain", "Sweden", "Switzerland", "USA", "United Arab Emirates", "United Kingdom",
    "Unspecified",
)
# fmt: on

REFUSE_THE_BATCH = (
    Expectation(
        name="rows_present",
        level="table",
        severity="critical",
        type="expect_table_row_count_to_be_between",
        kwargs={"min_value": 1, "max_value": 1_000_000},
        reason="An empty batch is a source that failed, not a quiet month; the busiest month seen has 84,711 lines, "
        "so a million is a wrong cut.",
    ),
    complete(COLUMNS),
    masked("customer_id"),
    Expectation(
        name="customers_known_enough",
        level="table",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "customer_id", "mostly": 0.4},
        reason="62 to 83 % of lines of a month name a customer; below 40 % an export lost the column and models would "
        "learn from strangers.",
    ),
    Expectation(
        name="lines_not_doubled",
        level="table",
        severity="critical",
        type="expect_compound_columns_to_be_unique",
        kwargs={"column_list": list(COLUMNS), "mostly": 0.8, "ignore_row_if": "never"},
        reason="1 to 3 % of lines of a month have an exact twin (the same article scanned twice); a fifth means a file "
        "was written or joined twice.",
    ),
    Expectation(
        name="price_level",
        level="table",
        severity="critical",
        type="expect_column_median_to_be_between",
        kwargs={"column": "unit_price", "min_value": 0.5, "max_value": 10.0},
        reason="The median price of a month lies between 1.95 and 2.55 pounds; another currency, pence or a shifted "
        "column moves it out of 0.50 to 10.",
    ),
    Expectation(
        name="quantity_level",
        level="table",
        severity="critical",
        type="expect_column_median_to_be_between",
        kwargs={"column": "quantity", "min_value": 1, "max_value": 50},
        reason="The median quantity of a month is 2 to 4; signs turned round or a shifted column move it out of 1 to 50.",
    ),
    Expectation(
        name="cancellations_few",
        level="table",
        severity="critical",
        type="expect_column_values_to_match_regex",
        kwargs={"column": "invoice_no", "regex": r"^[^C]", "mostly": 0.75},
        reason="1.3 to 2.0 % of lines of a month cancel; a quarter means that only the returns were exported.",
    ),
)

TO_QUARANTINE = (
    Expectation(
        name="invoice_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "invoice_no"},
        reason="A line that belongs to no invoice cannot be counted once or cancelled.",
    ),
    Expectation(
        name="invoice_form",
        level="row",
        severity="critical",
        type="expect_column_values_to_match_regex",
        kwargs={"column": "invoice_no", "regex": r"^C?\d{6}$"},
        reason="Six digits are an order, C and six digits its cancellation. The three lines with A are bad-debt "
        "bookings of 2011-08-12, which no customer ordered.",
    ),
    Expectation(
        name="product_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "stock_code"},
        reason="A line without a code sells nothing that could be forecast or recommended.",
    ),
    Expectation(
        name="product_form",
        level="row",
        severity="critical",
        type="expect_column_values_to_match_regex",
        kwargs={"column": "stock_code", "regex": r"^\S(?:.{0,18}\S)?$"},
        reason="Codes have 1 to 12 characters and no outer blanks; a longer one is another column's text.",
    ),
    Expectation(
        name="description_length",
        level="row",
        severity="critical",
        type="expect_column_value_lengths_to_be_between",
        kwargs={"column": "description", "min_value": 1, "max_value": 200},
        reason="The longest text seen has 35 characters; a huge one is a broken export and would travel into every page.",
    ),
    Expectation(
        name="quantity_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "quantity"},
        reason="No quantity, or text where it belongs: the line says nothing about demand.",
    ),
    Expectation(
        name="quantity_range",
        level="row",
        severity="critical",
        type="expect_column_values_to_be_between",
        kwargs={"column": "quantity", "min_value": -100_000, "max_value": 100_000},
        reason="The largest order seen has 80,995 units (and was cancelled minutes later); beyond 100,000 it is a code "
        "in the wrong column.",
    ),
    Expectation(
        name="quantity_not_zero",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_in_set",
        kwargs={"column": "quantity", "value_set": [0]},
        reason="A line of nothing was never seen; it would count as an order without being one.",
    ),
    Expectation(
        name="date_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "invoice_date"},
        reason="Without its time a line cannot be put before or after anything: features and splits follow time.",
    ),
    Expectation(
        name="date_range",
        level="row",
        severity="critical",
        type="expect_column_values_to_be_between",
        kwargs={
            "column": "invoice_date",
            "min_value": "2000-01-01T00:00:00+00:00",
            "max_value": {"$PARAMETER": "now"},
        },
        reason="An order from the future leaks into every split, one before 2000 is an empty date of some system.",
    ),
    Expectation(
        name="price_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "unit_price"},
        reason="No price, NaN or text: the line has no revenue that could be summed.",
    ),
    Expectation(
        name="price_range",
        level="row",
        severity="critical",
        type="expect_column_values_to_be_between",
        kwargs={"column": "unit_price", "min_value": 0, "max_value": 50_000},
        reason="A negative price is bookkeeping (two lines of -11,062.06 seen), not a sale; the highest seen is 38,970 "
        "(a manual correction).",
    ),
    Expectation(
        name="country_given",
        level="row",
        severity="critical",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "country"},
        reason="The source writes 'Unspecified' where it does not know; nothing at all is a broken line.",
    ),
    Expectation(
        name="country_length",
        level="row",
        severity="critical",
        type="expect_column_value_lengths_to_be_between",
        kwargs={"column": "country", "min_value": 2, "max_value": 60},
        reason="The longest name seen has 20 characters; a longer one is another column's text.",
    ),
    Expectation(
        name="sale_not_marked_cancelled",
        level="row",
        severity="critical",
        type="expect_column_values_to_match_regex",
        kwargs={"column": "invoice_no", "regex": r"^[^C]"},
        where=(("quantity", ">", 0),),
        reason="A cancellation takes units back; a positive one would be counted as a sale. None seen in 9,288.",
    ),
    Expectation(
        name="paid_return_is_cancellation",
        level="row",
        severity="critical",
        type="expect_column_values_to_match_regex",
        kwargs={"column": "invoice_no", "regex": r"^C"},
        where=(("quantity", "<", 0), ("unit_price", ">", 0)),
        reason="Units that come back against money do so on a cancellation; without C the sign is a slip. None seen.",
    ),
)

KEPT_AND_COUNTED = (
    Expectation(
        name="customer_named",
        level="row",
        severity="info",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "customer_id"},
        reason="Till and shop orders name nobody (135,080 lines): real demand, but nobody to recommend to.",
    ),
    Expectation(
        name="is_a_sale",
        level="row",
        severity="info",
        type="expect_column_values_to_be_between",
        kwargs={"column": "quantity", "min_value": 1},
        reason="Cancellations (9,288) and stock adjustments (1,336, price 0, no customer): models net them against "
        "the orders they undo.",
    ),
    Expectation(
        name="has_a_price",
        level="row",
        severity="info",
        type="expect_column_values_to_be_between",
        kwargs={"column": "unit_price", "min_value": 0.001},
        reason="Price 0 (2,515 lines) is a gift or an adjustment: units without revenue.",
    ),
    Expectation(
        name="is_a_product",
        level="row",
        severity="info",
        type="expect_column_values_to_match_regex",
        kwargs={"column": "stock_code", "regex": r"^\d{5}[A-Za-z]{0,2}$"},
        reason="Postage, manual entries, fees, vouchers and samples (POST, DOT, M, C2, gift_..., 2,995 lines) are no "
        "goods on a shelf.",
    ),
    Expectation(
        name="code_in_capitals",
        level="row",
        severity="info",
        type="expect_column_values_to_match_regex",
        kwargs={"column": "stock_code", "regex": r"^[^a-z]*$"},
        reason="85123a and 85123A are one article (1,977 lines in small letters): kept as written, folded by models.",
    ),
    Expectation(
        name="description_given",
        level="row",
        severity="info",
        type="expect_column_values_to_not_be_null",
        kwargs={"column": "description"},
        reason="1,454 lines, all adjustments without price and customer, carry no text; the code says what it is.",
    ),
    Expectation(
        name="not_a_monster_order",
        level="row",
        severity="warning",
        type="expect_column_values_to_be_between",
        kwargs={"column": "quantity", "min_value": -10_000, "max_value": 10_000},
        reason="Five lines beyond 10,000 units, four of them two orders cancelled 12 and 16 minutes later: net them "
        "before summing.",
    ),
    Expectation(
        name="line_without_twin",
        level="row",
        severity="info",
        type="expect_compound_columns_to_be_unique",
        kwargs={"column_list": list(COLUMNS), "ignore_row_if": "never"},
        reason="Exact twins inside an invoice are the same article scanned twice (5,268 repeats): real units.",
    ),
    Expectation(
        name="country_known",
        level="row",
        severity="warning",
        type="expect_column_values_to_be_in_set",
        kwargs={"column": "country", "value_set": list(COUNTRIES)},
        reason="A new country is news and no error; a new spelling of an old one splits a segment in two.",
    ),
)

SUITE = Suite(
    name="orders",
    expectations=(*REFUSE_THE_BATCH, *TO_QUARANTINE, *KEPT_AND_COUNTED),
    max_quarantined_share=0.01,
    max_quarantined_reason="3 of 541,909 lines are quarantined in the bundled months; one in a hundred means that the "
    "export is broken, not that lines are.",
)
