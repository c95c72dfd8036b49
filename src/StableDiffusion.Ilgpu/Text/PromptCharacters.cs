using System.Globalization;
using System.Text;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>
/// The classes of characters that prompt syntax is defined by: those of Python's regular expressions, which differ from .NET's in places.
/// </summary>
internal static class PromptCharacters
{
    /// <summary><c>\s</c>.</summary>
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';

    /// <summary><c>\d</c> and its value; -1 for anything else.</summary>
    public static int Digit(char c) => CharUnicodeInfo.GetDecimalDigitValue(c);

    /// <summary>Whether a <c>\w</c> ends at <paramref name="position"/>.</summary>
    public static bool IsWordBefore(ReadOnlySpan<char> text, int position) =>
        Rune.DecodeLastFromUtf16(text[..position], out var rune, out _) == System.Buffers.OperationStatus.Done && IsWord(rune);

    /// <summary>Whether a <c>\w</c> begins at <paramref name="position"/>.</summary>
    public static bool IsWordAt(ReadOnlySpan<char> text, int position) =>
        Rune.DecodeFromUtf16(text[position..], out var rune, out _) == System.Buffers.OperationStatus.Done && IsWord(rune);

    private static bool IsWord(Rune rune) => rune.Value == '_' || Rune.IsLetterOrDigit(rune)
        || Rune.GetUnicodeCategory(rune) is UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber;
}
