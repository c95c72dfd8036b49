using System.Globalization;
using System.Text.RegularExpressions;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>The names in what ILGPU writes for drivers.</summary>
internal static partial class SourceNames
{
    /// <summary>
    /// Names that do not depend on what was compiled before. ILGPU numbers types, functions and labels through the whole process, in the order in which its
    /// threads get to them; drivers keep compiled programs by their text, and would hardly ever find one again. The first number within each name becomes
    /// a small one by the order of appearance, counted for each stem by itself.
    /// </summary>
    public static string Canonical(string source)
    {
        var numbers = new Dictionary<string, string>();
        var counts = new Dictionary<string, int>();
        return NumberedName().Replace(source, match =>
        {
            if (!numbers.TryGetValue(match.Value, out var name))
            {
                var stem = match.Groups["stem"].Value;
                var number = counts[stem] = counts.GetValueOrDefault(stem) + 1;
                numbers[match.Value] = name = stem + number.ToString(CultureInfo.InvariantCulture);
            }

            return name;
        });
    }

    [GeneratedRegex(@"\b(?<stem>[A-Za-z_]\w*?_)[0-9]+(?=_|\b)", RegexOptions.ExplicitCapture)]
    private static partial Regex NumberedName();
}
