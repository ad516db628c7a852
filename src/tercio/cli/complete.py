"""`tercio completion`: the script that teaches a shell our commands and options."""

import click
from click.shell_completion import ShellComplete, get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  tercio completion bash > ~/.local/share/bash-completion/completions/tercio
    zsh:   tercio completion zsh > "${fpath[1]}/_tercio"
    fish:  tercio completion fish > ~/.config/fish/completions/tercio.fish
    """
    from tercio.cli.main import cli  # main imports this module when it is asked for

    found = get_completion_class(shell)
    assert found is not None  # click brings these three
    # The base class's source(): bash's own first runs a bash to complain about its version.
    click.echo(ShellComplete.source(found(cli, {}, "tercio", "_TERCIO_COMPLETE")))
