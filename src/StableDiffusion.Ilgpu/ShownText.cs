namespace StableDiffusion.Ilgpu;

/// <summary>
/// Texts as people see them. They quote foreign files and servers, and what comes from those must neither break lines, nor steer a terminal, nor turn round
/// what stands beside it.
/// </summary>
internal static class ShownText
{
    /// <summary>What begins or ends a direction of writing for all that follows: embeddings, overrides and isolates.</summary>
    public const string Turns = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069";

    /// <summary>The text in one line: a space for each character that is no letter of it.</summary>
    /// <param name="text">The text.</param>
    /// <param name="most">Letters after which it is cut off, so that it does not fill the terminal.</param>
    public static string OneLine(string text, int most = int.MaxValue)
    {
        var cut = text.Length <= most ? text : $"{text.AsSpan(0, most)}…";
        return cut.Any(Steers) ? Replace(cut, Steers) : cut;
    }

    /// <summary>The same of a text whose lines stay.</summary>
    public static string Lines(string text) => Replace(text, c => c != '\n' && Steers(c));

    private static bool Steers(char c) => char.IsControl(c) || c is '\u2028' or '\u2029' || Turns.Contains(c);

    private static string Replace(string text, Predicate<char> isReplaced) => string.Create(text.Length, (text, isReplaced), static (shown, given) =>
    {
        for (var i = 0; i < shown.Length; i++)
        {
            shown[i] = given.isReplaced(given.text[i]) ? ' ' : given.text[i];
        }
    });
}
