using System.Text;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The two ways in which terminals take pictures as they are.</summary>
internal enum InlineProtocol
{
    /// <summary>The terminal tells of none.</summary>
    None,

    /// <summary>kitty's: kitty, Ghostty.</summary>
    Kitty,

    /// <summary>iTerm2's: iTerm2, WezTerm, mintty.</summary>
    ITerm,
}

/// <summary>Pictures in terminals that take PNG files.</summary>
internal static class InlinePicture
{
    /// <summary>Kitty replaces a picture by another one of the same number.</summary>
    private const int Number = 20220822;

    /// <summary>The most that kitty takes at a time.</summary>
    private const int ChunkCharacters = 4096;

    private const string Escape = "\e", Bell = "\a";

    /// <summary>What the variables of the environment tell of the terminal.</summary>
    public static InlineProtocol Find(Func<string, string?> environment)
    {
        var (terminal, program) = (environment("TERM") ?? "", environment("TERM_PROGRAM"));

        // Multiplexers leave their host's variables to the programs in them, and keep pictures to themselves.
        if (environment("TMUX") is { Length: > 0 } || terminal.StartsWith("screen", StringComparison.Ordinal) || terminal.StartsWith("tmux", StringComparison.Ordinal))
        {
            return InlineProtocol.None;
        }

        return environment("KITTY_WINDOW_ID") is { Length: > 0 } || terminal is "xterm-kitty" or "xterm-ghostty" || program == "ghostty" ? InlineProtocol.Kitty
            : program is "iTerm.app" or "WezTerm" or "mintty" ? InlineProtocol.ITerm
            : InlineProtocol.None;
    }

    /// <summary>The escape sequence that draws a picture of so many cells at the cursor. Kitty's leaves the cursor there.</summary>
    public static string Sequence(InlineProtocol protocol, ReadOnlySpan<byte> png, int columns, int lines)
    {
        var data = Convert.ToBase64String(png);
        if (protocol == InlineProtocol.ITerm)
        {
            return $"{Escape}]1337;File=inline=1;size={png.Length};width={columns};height={lines};preserveAspectRatio=0:{data}{Bell}";
        }

        // a=T: transmit and show; f=100: a PNG file; C=1: the cursor stays; q=2: no answers, which the shell would get.
        var text = new StringBuilder();
        for (var first = 0; first < data.Length; first += ChunkCharacters)
        {
            var chunk = data.AsSpan(first, Math.Min(ChunkCharacters, data.Length - first));
            var keys = first == 0 ? $"a=T,f=100,i={Number},p=1,c={columns},r={lines},C=1,q=2," : "";
            text.Append($"{Escape}_G{keys}m={(first + chunk.Length < data.Length ? 1 : 0)};{chunk}{Escape}\\");
        }

        return text.ToString();
    }

    /// <summary>Takes the last picture from the screen; only kitty's stays when its lines are cleared.</summary>
    public static string Removal(InlineProtocol protocol) =>
        protocol == InlineProtocol.Kitty ? $"{Escape}_Ga=d,d=I,i={Number},q=2{Escape}\\" : "";
}
