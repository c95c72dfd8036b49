namespace StableDiffusion.Ilgpu.Text;

/// <summary>A text that a prompt may hold in any case, and the ids that stand for it: a learned token beside the vocabulary.</summary>
internal sealed record ExtraToken(string Text, int[] Ids)
{
    /// <summary>
    /// Whether the text stands at <paramref name="position"/> of a prompt, and not as part of a longer word: a letter or digit at its
    /// end must not go on in the prompt.
    /// </summary>
    public bool IsAt(string prompt, int position)
    {
        var end = position + Text.Length;
        return string.Compare(prompt, position, Text, 0, Text.Length, StringComparison.OrdinalIgnoreCase) == 0
            && end <= prompt.Length
            && !(position > 0 && IsWord(Text[0]) && IsWord(prompt[position - 1]))
            && !(end < prompt.Length && IsWord(Text[^1]) && IsWord(prompt[end]));
    }

    private static bool IsWord(char c) => char.IsLetterOrDigit(c);
}
