using System.Globalization;

namespace StableDiffusion.Ilgpu;

/// <summary>
/// Numbers in messages and in pictures' settings: with a point and a hyphen for a minus, whatever the program's culture. Integers that are not below zero are
/// the same in all cultures and need it not.
/// </summary>
internal static class NumberText
{
    public static string Of(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);

    /// <summary>With commas between them.</summary>
    public static string Of(IEnumerable<long> values) => string.Join(", ", values.Select(v => Of(v)));
}
