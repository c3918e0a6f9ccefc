"""The feature accounts: people who sign in, their roles, sessions and API tokens."""

from ...core.languages import marked
from ...kernel.feature import (
    Commands,
    Feature,
    FirstLogin,
    Grants,
    Identify,
    NavItem,
    Pages,
    Routes,
)

FEATURE = Feature(
    __name__,
    parts=(
        Routes("api:router", paths=("sessions", "tokens", "users", "views")),
        Pages("pages:router", sign_in=True),
        Pages("oidc_pages:router", sign_in=True),
        Pages("token_pages:exchange"),
        Pages("token_pages:router"),
        Pages(
            "people_pages:router",
            nav=NavItem("/people", "people", marked("People"), shortcut="p", needs="admin"),
        ),
        Identify("providers:TokenProvider", programs=True),
        Identify("providers:sessions_of"),
        Identify("providers:host_sessions_of", beside_host=True),
        FirstLogin("users:first_login"),
        Grants("roles:grants_of"),
        Commands("commands:user_group", "user", after="prune"),
        Commands("commands:token_group", "token", after="user"),
        Commands("commands:role_group", "role", after="token"),
        Commands("commands:session_group", "session", after="role"),
    ),
)
