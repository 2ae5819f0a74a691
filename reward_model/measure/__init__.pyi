from .calibration import calibrate as calibrate
from .doctor.file import look_at_file as look_at_file
from .doctor.model import look_at_folder as look_at_folder
from .evaluation.run import Evaluation as Evaluation
from .evaluation.run import evaluate as evaluate
from .probing.run import Audit as Audit
from .probing.run import audit as audit
