using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;
using ILGPU.Backends.OpenCL;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>
/// OpenCL C as ILGPU writes it, with names that do not depend on what was compiled before. ILGPU numbers types, functions and labels through
/// the whole process, in the order in which its threads get to them; drivers keep compiled programs by their text, and would
/// hardly ever find one again.
/// </summary>
internal static partial class OpenClSource
{
    private static readonly FieldInfo? Source = FindSource(typeof(CLCompiledKernel));

    /// <summary>Renames in place. If an ILGPU version has other internals, the text stays as it is, which costs time only.</summary>
    public static void MakeCanonical(CLCompiledKernel kernel) => Source?.SetValue(kernel, Canonical(kernel.Source));

    /// <summary>The first number within each name becomes a small one by the order of appearance, counted for each stem by itself.</summary>
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

    /// <summary>The field behind <see cref="CLCompiledKernel.Source"/>; null if there is none.</summary>
    internal static FieldInfo? FindSource(Type kernel) =>
        kernel.GetField($"<{nameof(CLCompiledKernel.Source)}>k__BackingField", BindingFlags.Instance | BindingFlags.NonPublic) is { } field
        && field.FieldType == typeof(string) ? field : null;

    [GeneratedRegex(@"\b(?<stem>[A-Za-z_]\w*?_)[0-9]+(?=_|\b)", RegexOptions.ExplicitCapture)]
    private static partial Regex NumberedName();
}
