using System.Globalization;

namespace StableDiffusion.Ilgpu;

/// <summary>Numbers in messages: with a point, as in the texts around them, whatever the program's culture.</summary>
internal static class NumberText
{
    public static string Of(double value) => value.ToString(CultureInfo.InvariantCulture);
}
