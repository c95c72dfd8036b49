namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>Masks say which part of a picture is painted anew: one value a pixel, 0 keeps it, 1 repaints it.</summary>
internal static class PictureMask
{
    /// <summary>A mask's values in the size that is drawn, rows from the top.</summary>
    /// <param name="mask">White where to repaint; brought to the picture's size first if it has another.</param>
    /// <param name="picture">The picture that it belongs to, before any resizing.</param>
    /// <param name="width">The width that is drawn.</param>
    /// <param name="height">The height that is drawn.</param>
    /// <param name="mode">How the picture is resized; the mask goes the same way.</param>
    /// <param name="invert">Repaint the black parts.</param>
    /// <param name="blur">Standard deviation in pixels of the blur at the end; 0 for none.</param>
    public static float[] Of(InputImage mask, InputImage picture, int width, int height, ResizeMode mode, bool invert, int blur)
    {
        var aligned = PictureFit.FitMask(mask, picture.Width, picture.Height, ResizeMode.Stretch);
        var fitted = PictureFit.FitMask(aligned, width, height, mode).Pixels.Span;
        var values = new float[width * height];
        for (var i = 0; i < values.Length; i++)
        {
            var value = Luminance(fitted.Slice(3 * i, 3)) / 255f;
            values[i] = invert ? 1 - value : value;
        }

        return blur == 0 ? values : Blur(values, width, height, blur);
    }

    /// <summary>
    /// The generated picture where the mask is 1, the original's own bytes where it is 0, a mixture where it is between.
    /// </summary>
    /// <param name="original">The picture in the size that was drawn.</param>
    /// <param name="generated">Rows from the top, bytes R, G, B, of the same size.</param>
    /// <param name="mask">One value a pixel.</param>
    public static InputImage Composite(InputImage original, ReadOnlySpan<byte> generated, ReadOnlySpan<float> mask)
    {
        var result = original.Pixels.ToArray();
        for (var i = 0; i < result.Length; i++)
        {
            var (kept, drawn) = (result[i], generated[i]);
            result[i] = (byte)MathF.Round(kept + ((drawn - kept) * mask[i / 3]));
        }

        return new InputImage(original.Width, original.Height, result);
    }

    /// <summary>0 to 255, by the weights of ITU-R BT.601 in the fixed point of Python's imaging library; grey stays what it is.</summary>
    private static int Luminance(ReadOnlySpan<byte> rgb) => ((19595 * rgb[0]) + (38470 * rgb[1]) + (7471 * rgb[2]) + 0x8000) >> 16;

    /// <summary>A Gaussian of as many pixels as AUTOMATIC1111's web UI takes, with reflected edges.</summary>
    private static float[] Blur(float[] values, int width, int height, int sigma)
    {
        var radius = ((5 * sigma) + 1) / 2;
        var kernel = new double[(2 * radius) + 1];
        for (var i = -radius; i <= radius; i++)
        {
            kernel[i + radius] = Math.Exp(-(double)i * i / (2.0 * sigma * sigma));
        }

        var sum = kernel.Sum();
        kernel = [.. kernel.Select(k => k / sum)];
        var across = Convolve(values, kernel, width, height, 1, width);
        return Convolve(across, kernel, height, width, width, 1);
    }

    /// <summary>Filters along lines of <paramref name="length"/> values, <paramref name="step"/> apart.</summary>
    private static float[] Convolve(float[] values, double[] kernel, int length, int lines, int step, int lineStep)
    {
        var result = new float[values.Length];
        var radius = kernel.Length / 2;
        Parallel.For(0, lines, line =>
        {
            for (var i = 0; i < length; i++)
            {
                var sum = 0.0;
                for (var k = 0; k < kernel.Length; k++)
                {
                    sum += kernel[k] * values[(line * lineStep) + (Reflect(i + k - radius, length) * step)];
                }

                // The weights' sum may miss 1 by its last bit.
                result[(line * lineStep) + (i * step)] = (float)Math.Min(sum, 1);
            }
        });
        return result;
    }

    /// <summary>A place beyond the edge is mirrored at the last value, which is not repeated.</summary>
    private static int Reflect(int i, int length)
    {
        if (length == 1)
        {
            return 0;
        }

        var period = 2 * (length - 1);
        var place = ((i % period) + period) % period;
        return place < length ? place : period - place;
    }
}
