using System.Globalization;
using System.Text.RegularExpressions;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>The number in <c>[a:b:number]</c>: a step, or, written with a decimal point, a share of the steps.</summary>
internal static partial class ScheduleNumber
{
    /// <param name="text">The number.</param>
    /// <param name="steps">Steps of the pass.</param>
    /// <param name="stepsBefore">Steps of the pass before it, which count on into this one: a share of 1 and so many steps are its beginning. 0 without one.</param>
    /// <returns>A step, 0 … <paramref name="steps"/>; null where the text is not a number with spaces around it.</returns>
    public static int? Read(ReadOnlySpan<char> text, int steps, int stepsBefore)
    {
        while (text.Length > 0 && PromptCharacters.IsSpace(text[0]))
        {
            text = text[1..];
        }

        while (text.Length > 0 && PromptCharacters.IsSpace(text[^1]))
        {
            text = text[..^1];
        }

        if (!Form().IsMatch(text))
        {
            return null;
        }

        var number = double.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture);
        var step = text.Contains('.') ? (stepsBefore > 0 ? number - 1 : number) * steps : number - stepsBefore;
        return (int)Math.Clamp(step, 0, steps);
    }

    [GeneratedRegex(@"\A[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\z", RegexOptions.ExplicitCapture)]
    private static partial Regex Form();
}
