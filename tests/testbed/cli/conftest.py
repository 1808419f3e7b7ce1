from tests.analysis.conftest import make_cell as make_cell  # cells on disk, as a campaign leaves them
