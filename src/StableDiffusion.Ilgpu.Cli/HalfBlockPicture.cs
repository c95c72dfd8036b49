using Spectre.Console;
using Spectre.Console.Rendering;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>A picture in a terminal: each character is the upper half of a cell in one colour, in front of another.</summary>
internal sealed class HalfBlockPicture(GeneratedImage image, int mostColumns, int mostLines) : Renderable
{
    protected override IEnumerable<Segment> Render(RenderOptions options, int maxWidth)
    {
        var (columns, lines) = Fit(image, Math.Min(mostColumns, maxWidth), mostLines);
        for (var line = 0; line < lines; line++)
        {
            for (var column = 0; column < columns; column++)
            {
                yield return new Segment(
                    "▀", new Style(Average(column, 2 * line, columns, 2 * lines), Average(column, (2 * line) + 1, columns, 2 * lines)));
            }

            yield return Segment.LineBreak;
        }
    }

    /// <summary>Cells for a picture: about two squares each, and not more of them than the picture has pixels.</summary>
    public static (int Columns, int Lines) Fit(GeneratedImage image, int mostColumns, int mostLines)
    {
        var scale = new[] { 1.0, (double)mostColumns / image.Width, 2.0 * mostLines / image.Height }.Min();
        return (Math.Max(1, (int)(image.Width * scale)), Math.Max(1, (int)(image.Height * scale / 2)));
    }

    /// <summary>The mean colour of the pixels that a cell of a grid covers.</summary>
    private Color Average(int column, int row, int columns, int rows)
    {
        Span<int> sum = [0, 0, 0];
        var (left, right) = (column * image.Width / columns, Math.Max((column + 1) * image.Width / columns, (column * image.Width / columns) + 1));
        var (top, bottom) = (row * image.Height / rows, Math.Max((row + 1) * image.Height / rows, (row * image.Height / rows) + 1));
        var pixels = image.Pixels.Span;
        for (var y = top; y < bottom; y++)
        {
            for (var x = left; x < right; x++)
            {
                for (var c = 0; c < 3; c++)
                {
                    sum[c] += pixels[(3 * ((y * image.Width) + x)) + c];
                }
            }
        }

        var count = (right - left) * (bottom - top);
        return new Color((byte)(sum[0] / count), (byte)(sum[1] / count), (byte)(sum[2] / count));
    }
}
