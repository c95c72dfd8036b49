using System.Globalization;

namespace StableDiffusion.Ilgpu;

/// <summary>Numbers in messages and in pictures' settings: with a point, whatever the program's culture.</summary>
internal static class NumberText
{
    public static string Of(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
}
