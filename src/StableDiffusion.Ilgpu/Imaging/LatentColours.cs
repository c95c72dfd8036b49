namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>Pictures from the latents of Stable Diffusion 1.x and 2.x without a decoder: each colour is a sum of the channels.</summary>
internal static class LatentColours
{
    public const int Channels = 4;

    /// <summary>
    /// R, G, B of a picture of -1 … 1 for each channel of the UNet's latent (not divided by the scaling factor), and for none: the figures
    /// that stable-diffusion.cpp and ComfyUI use.
    /// </summary>
    private static readonly float[][] Factors =
    [
        [0.337366f, 0.216344f, 0.257386f],
        [0.165636f, 0.386828f, 0.046994f],
        [-0.267803f, 0.237036f, 0.223517f],
        [-0.178022f, -0.200862f, -0.678514f],
        [-0.017478f, -0.055834f, -0.105825f],
    ];

    /// <summary>Draws a latent in the size of its picture, with straight lines of colour between the middles of its elements.</summary>
    /// <param name="latent">Channels first: (4, rows, columns).</param>
    /// <param name="rows">Of the latent.</param>
    /// <param name="columns">Of the latent.</param>
    /// <param name="scale">Pixels per latent, in each direction.</param>
    /// <returns>Rows from the top, bytes R, G, B.</returns>
    public static byte[] Draw(ReadOnlySpan<float> latent, int rows, int columns, int scale)
    {
        var small = Colours(latent, rows * columns);
        var (height, width) = (rows * scale, columns * scale);
        var pixels = new byte[3 * width * height];
        for (var y = 0; y < height; y++)
        {
            var (above, below, down) = Between(y, rows, scale);
            for (var x = 0; x < width; x++)
            {
                var (left, right, across) = Between(x, columns, scale);
                for (var c = 0; c < 3; c++)
                {
                    float At(int row, int column) => small[(3 * ((row * columns) + column)) + c];
                    var upper = At(above, left) + (across * (At(above, right) - At(above, left)));
                    var lower = At(below, left) + (across * (At(below, right) - At(below, left)));
                    pixels[(3 * ((y * width) + x)) + c] = ToByte(upper + (down * (lower - upper)));
                }
            }
        }

        return pixels;
    }

    private static float[] Colours(ReadOnlySpan<float> latent, int count)
    {
        var colours = new float[3 * count];
        for (var i = 0; i < count; i++)
        {
            for (var c = 0; c < 3; c++)
            {
                var sum = Factors[Channels][c];
                for (var k = 0; k < Channels; k++)
                {
                    sum += Factors[k][c] * latent[(k * count) + i];
                }

                colours[(3 * i) + c] = sum;
            }
        }

        return colours;
    }

    /// <summary>The elements on both sides of a pixel's middle, and how far it lies from the first to the second.</summary>
    private static (int First, int Second, float Share) Between(int pixel, int count, int scale)
    {
        var place = ((pixel + 0.5f) / scale) - 0.5f;
        var first = (int)MathF.Floor(place);
        return (Math.Max(first, 0), Math.Min(first + 1, count - 1), place - first);
    }

    private static byte ToByte(float value) => float.IsNaN(value) ? (byte)0 : (byte)((Math.Clamp((value / 2) + 0.5f, 0, 1) * 255) + 0.5f);
}
