from .templates import TEMPLATES as TEMPLATES
from .templates import ChatTemplate as ChatTemplate
from .templates import Turn as Turn
from .templates import load_template as load_template
from .templates import plain_response as plain_response
from .templates import split_query as split_query
