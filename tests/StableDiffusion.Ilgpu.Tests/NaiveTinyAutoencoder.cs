namespace StableDiffusion.Ilgpu.Tests;

/// <summary>
/// TAESD in fp64, written down from its published architecture with the original file's layer numbers and nothing of the library:
/// there are no reference numbers of other people's code for it.
/// </summary>
internal sealed class NaiveTinyAutoencoder(Func<string, float[]> weights)
{
    /// <summary>A picture: channels, rows, columns.</summary>
    internal sealed record Picture(int C, int H, int W, double[] Values)
    {
        public Picture Map(Func<double, double> f) => this with { Values = [.. Values.Select(f)] };

        public Picture Plus(Picture other) => this with { Values = [.. Values.Zip(other.Values, (a, b) => a + b)] };

        public double At(int c, int y, int x) => y < 0 || y >= H || x < 0 || x >= W ? 0 : Values[(((c * H) + y) * W) + x];
    }

    /// <summary>Latents as the UNet gives them to a picture of -1 … 1.</summary>
    public Picture Decode(Picture z)
    {
        var x = Relu(Conv("taesd_decoder.1", z.Map(v => 3 * Math.Tanh(v / 3))));
        foreach (var layer in Enumerable.Range(3, 17))
        {
            x = layer switch
            {
                6 or 11 or 16 => Double(x),
                7 or 12 or 17 or 19 => Conv($"taesd_decoder.{layer}", x),
                _ => Block($"taesd_decoder.{layer}", x),
            };
        }

        return x.Map(v => (2 * v) - 1);
    }

    public Picture Encode(Picture image)
    {
        var x = image.Map(v => (v + 1) / 2);
        foreach (var layer in Enumerable.Range(0, 15))
        {
            x = layer switch
            {
                0 or 14 => Conv($"taesd_encoder.{layer}", x),
                2 or 6 or 10 => Conv($"taesd_encoder.{layer}", x, stride: 2),
                _ => Block($"taesd_encoder.{layer}", x),
            };
        }

        return x;
    }

    private Picture Block(string name, Picture x)
    {
        var h = Relu(Conv($"{name}.conv.0", x));
        h = Relu(Conv($"{name}.conv.2", h));
        return Relu(Conv($"{name}.conv.4", h).Plus(x));
    }

    private static Picture Relu(Picture x) => x.Map(v => Math.Max(0, v));

    private static Picture Double(Picture x)
    {
        var values = new double[x.C * x.H * x.W * 4];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = x.At(i / (4 * x.H * x.W), i / (2 * x.W) % (2 * x.H) / 2, i % (2 * x.W) / 2);
        }

        return new Picture(x.C, 2 * x.H, 2 * x.W, values);
    }

    /// <summary>3x3, padded with one row and column of zeros all around.</summary>
    private Picture Conv(string name, Picture x, int stride = 1)
    {
        var weight = weights($"{name}.weight");
        var (channels, h, w) = (weight.Length / x.C / 9, ((x.H - 1) / stride) + 1, ((x.W - 1) / stride) + 1);

        // Layers that change the size have no bias.
        var resizes = stride > 1 || name is "taesd_decoder.7" or "taesd_decoder.12" or "taesd_decoder.17";
        var bias = resizes ? new float[channels] : weights($"{name}.bias");
        var values = new double[channels * h * w];
        for (var i = 0; i < values.Length; i++)
        {
            var (o, row, column) = (i / h / w, i / w % h, i % w);
            double sum = bias[o];
            for (var c = 0; c < x.C; c++)
            {
                for (var tap = 0; tap < 9; tap++)
                {
                    sum += weight[(((o * x.C) + c) * 9) + tap] * x.At(c, (row * stride) + (tap / 3) - 1, (column * stride) + (tap % 3) - 1);
                }
            }

            values[i] = sum;
        }

        return new Picture(channels, h, w, values);
    }
}
