"""Census-Income (KDD): persons of the US surveys of 1994 and 1995.

Lane and Kohavi, UCI Machine Learning Repository, 2000; the set of the multi-task papers
on mixtures of experts (Ma et al., "Modeling Task Relationships in Multi-task Learning
with Multi-gate Mixture-of-Experts", KDD 2018). We read the official test file, half of
the persons, as the split `test`: divide it to train. `?` is missing, which is not the
same as "Not in universe"; `NA` is an answer of `hispanic_origin`. `instance_weight` is
the number of persons that a row stands for, and no input.
"""

from collections.abc import Iterable
from pathlib import Path

from mtl_jax.data import originals, spec
from mtl_jax.data.builders import cells

FILE = originals.File(
    "census-income.test.gz",
    "403423f6bae54fa144caed70bc572f3e294001b6dd1dd5390878917a4ab33d43",
)


def read(folder: Path) -> dict[str, Iterable[spec.Example]]:
    """The one split, from the file in `folder`."""
    rows = originals.read_table(folder, FILE, SPEC.name)
    return {"test": spec.examples(cells.columns(rows, SPEC.features))}


SPEC = spec.Spec(
    name="census_income_kdd",
    version="1.0.0",
    summary="99,762 persons of US surveys, 41 columns: income, never married",
    features={
        "age": spec.INTEGER,
        "class_of_worker": spec.TEXT,
        "industry_code": spec.codes(),
        "occupation_code": spec.codes(),
        "education": spec.TEXT,
        "wage_per_hour": spec.INTEGER,
        "enrolled_in_edu_inst_last_wk": spec.TEXT,
        "marital_status": spec.TEXT,
        "major_industry_code": spec.TEXT,
        "major_occupation_code": spec.TEXT,
        "race": spec.TEXT,
        "hispanic_origin": spec.TEXT,
        "sex": spec.TEXT,
        "member_of_a_labor_union": spec.TEXT,
        "reason_for_unemployment": spec.TEXT,
        "full_or_part_time_employment_stat": spec.TEXT,
        "capital_gains": spec.INTEGER,
        "capital_losses": spec.INTEGER,
        "dividends_from_stocks": spec.INTEGER,
        "tax_filer_status": spec.TEXT,
        "region_of_previous_residence": spec.TEXT,
        "state_of_previous_residence": spec.TEXT,
        "detailed_household_and_family_stat": spec.TEXT,
        "detailed_household_summary_in_household": spec.TEXT,
        "instance_weight": {**spec.NUMBER, "role": "weight"},
        "migration_code_change_in_msa": spec.TEXT,
        "migration_code_change_in_reg": spec.TEXT,
        "migration_code_move_within_reg": spec.TEXT,
        "live_in_this_house_1_year_ago": spec.TEXT,
        "migration_prev_res_in_sunbelt": spec.TEXT,
        "num_persons_worked_for_employer": spec.INTEGER,
        "family_members_under_18": spec.TEXT,
        "country_of_birth_father": spec.TEXT,
        "country_of_birth_mother": spec.TEXT,
        "country_of_birth_self": spec.TEXT,
        "citizenship": spec.TEXT,
        "own_business_or_self_employed": spec.codes(),
        "fill_inc_questionnaire_for_veterans_admin": spec.TEXT,
        "veterans_benefits": spec.codes(),
        "weeks_worked_in_year": spec.INTEGER,
        "year": spec.codes(),
        "income": spec.TEXT,
    },
    splits={"test": 99762},
    tasks={
        "income": {"kind": "binary", "positive": "50000+."},
        "never_married": {
            "kind": "binary",
            "column": "marital_status",
            "positive": "Never married",
        },
    },
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    source="https://archive.ics.uci.edu/dataset/117",
    read=read,
    files=(FILE,),
)
