using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>
/// A LoRA of one weight with what it must add, computed in fp64 from the definition of its kind, index by index.
/// </summary>
/// <param name="Name">For people.</param>
/// <param name="Shape">Of the weight.</param>
/// <param name="Tensors">The file's tensors: ending, values.</param>
/// <param name="Added">The change at (out, in, y, x), without alpha and scale.</param>
/// <param name="Factor">alpha / rank.</param>
internal sealed record LoraCase(
    string Name, long[] Shape, IReadOnlyList<(string Ending, Array Values)> Tensors, Func<int, int, int, int, double> Added, double Factor)
{
    public const string Weight = "mid_block.attentions.0.proj_in.weight";

    /// <summary>The module of <see cref="Weight"/> in kohya's names.</summary>
    public const string Module = "lora_unet_mid_block_attentions_0_proj_in";

    public static IReadOnlyList<LoraCase> All { get; } = [.. Make()];

    public override string ToString() => Name;

    public string Write(string path) => ToFile(path, torch: false);

    public string WriteTorch(string path) => ToFile(path, torch: true);

    private string ToFile(string path, bool torch)
    {
        var file = new TensorFiles();
        foreach (var (ending, values) in Tensors)
        {
            file.Add($"{Module}.{ending}", values);
        }

        return torch ? file.WriteTorch(path) : file.Write(path);
    }

    /// <summary>All values of the change at a scale, row-major.</summary>
    public double[] Delta(double scale)
    {
        var (h, w) = Shape.Length == 4 ? ((int)Shape[2], (int)Shape[3]) : (1, 1);
        return
        [
            .. from o in Enumerable.Range(0, (int)Shape[0])
               from i in Enumerable.Range(0, (int)Shape[1])
               from y in Enumerable.Range(0, h)
               from x in Enumerable.Range(0, w)
               select scale * Factor * Added(o, i, y, x),
        ];
    }

    private static IEnumerable<LoraCase> Make()
    {
        var random = new Random(1);
        double[,] M(int a, int b)
        {
            var m = new double[a, b];
            foreach (var i in Enumerable.Range(0, a * b))
            {
                m[i / b, i % b] = (float)((2 * random.NextDouble()) - 1);
            }

            return m;
        }

        double[,,,] T(int a, int b, int h, int w)
        {
            var t = new double[a, b, h, w];
            foreach (var i in Enumerable.Range(0, a * b * h * w))
            {
                t[i / w / h / b, i / w / h % b, i / w % h, i % w] = (float)((2 * random.NextDouble()) - 1);
            }

            return t;
        }

        static Array Alpha(double value) => new[] { value };
        static double Sum(int count, Func<int, double> term) => Enumerable.Range(0, count).Sum(term);

        {
            var (up, down) = (M(5, 3), M(3, 7));
            double Product(int o, int i, int y, int x) => Sum(3, r => up[o, r] * down[r, i]);
            yield return new(
                "LoRA 5x7 of rank 3", [5, 7], [("lora_up.weight", up), ("lora_down.weight", down), ("alpha", Alpha(2))], Product, 2.0 / 3);
            yield return new("LoRA without alpha", [5, 7], [("lora_up.weight", up), ("lora_down.weight", down)], Product, 1);
            yield return new(
                "LoRA of linear shapes for a 1x1 convolution", [5, 7, 1, 1],
                [("lora_up.weight", up), ("lora_down.weight", down)], Product, 1);
        }

        {
            var (whole, convolution) = (M(5, 7), T(6, 4, 3, 3));
            yield return new("Difference 5x7", [5, 7], [("diff", whole)], (o, i, y, x) => whole[o, i], 1);
            yield return new("Difference of linear shapes for a 1x1 convolution", [5, 7, 1, 1], [("diff", whole)], (o, i, y, x) => whole[o, i], 1);
            yield return new("Difference of a 3x3 convolution", [6, 4, 3, 3], [("diff", convolution)], (o, i, y, x) => convolution[o, i, y, x], 1);
        }

        {
            var (up, down) = (T(6, 2, 1, 1), T(2, 4, 1, 1));
            double Product(int o, int i, int y, int x) => Sum(2, r => up[o, r, 0, 0] * down[r, i, 0, 0]);
            yield return new(
                "LoRA of a 1x1 convolution", [6, 4, 1, 1],
                [("lora_up.weight", up), ("lora_down.weight", down), ("alpha", Alpha(1))], Product, 0.5);
            yield return new(
                "LoRA of convolution's shapes for a linear layer", [6, 4],
                [("lora_up.weight", up), ("lora_down.weight", down)], Product, 1);
        }

        {
            var (up, down) = (T(6, 5, 1, 1), T(5, 4, 3, 3));
            yield return new(
                "LoRA of a 3x3 convolution", [6, 4, 3, 3], [("lora_up.weight", up), ("lora_down.weight", down), ("alpha", Alpha(4))],
                (o, i, y, x) => Sum(5, r => up[o, r, 0, 0] * down[r, i, y, x]), 0.8);
        }

        {
            var (up, mid, down) = (T(6, 3, 1, 1), T(3, 2, 3, 3), T(2, 4, 1, 1));
            yield return new(
                "LoRA of a 3x3 convolution with a core", [6, 4, 3, 3],
                [("lora_up.weight", up), ("lora_mid.weight", mid), ("lora_down.weight", down), ("alpha", Alpha(3))],
                (o, i, y, x) => Sum(3, p => Sum(2, q => up[o, p, 0, 0] * mid[p, q, y, x] * down[q, i, 0, 0])), 1.5);
        }

        {
            var (w1a, w1b, w2a, w2b) = (M(5, 3), M(3, 8), M(5, 3), M(3, 8));
            yield return new(
                "LoHa 5x8 of rank 3", [5, 8],
                [("hada_w1_a", w1a), ("hada_w1_b", w1b), ("hada_w2_a", w2a), ("hada_w2_b", w2b), ("alpha", Alpha(2))],
                (o, i, y, x) => Sum(3, r => w1a[o, r] * w1b[r, i]) * Sum(3, r => w2a[o, r] * w2b[r, i]), 2.0 / 3);
        }

        {
            var (w1a, w1b, w2a, w2b) = (M(5, 2), M(2, 4 * 9), M(5, 2), M(2, 4 * 9));
            yield return new(
                "LoHa of a 3x3 convolution", [5, 4, 3, 3],
                [("hada_w1_a", w1a), ("hada_w1_b", w1b), ("hada_w2_a", w2a), ("hada_w2_b", w2b), ("alpha", Alpha(1))],
                (o, i, y, x) => Sum(2, r => w1a[o, r] * w1b[r, (((i * 3) + y) * 3) + x])
                    * Sum(2, r => w2a[o, r] * w2b[r, (((i * 3) + y) * 3) + x]), 0.5);
        }

        {
            var (w1a, w1b, w2a, w2b, t1, t2) = (M(3, 5), M(3, 4), M(3, 5), M(3, 4), T(3, 3, 3, 3), T(3, 3, 3, 3));
            yield return new(
                "LoHa of a 3x3 convolution with cores", [5, 4, 3, 3],
                [("hada_w1_a", w1a), ("hada_w1_b", w1b), ("hada_w2_a", w2a), ("hada_w2_b", w2b),
                    ("hada_t1", t1), ("hada_t2", t2), ("alpha", Alpha(2))],
                (o, i, y, x) => Sum(3, p => Sum(3, q => t1[p, q, y, x] * w1b[q, i] * w1a[p, o]))
                    * Sum(3, p => Sum(3, q => t2[p, q, y, x] * w2b[q, i] * w2a[p, o])), 2.0 / 3);
        }

        {
            var (w1, w2) = (M(2, 5), M(3, 2));
            yield return new(
                "LoKr of two whole matrices, whose alpha says nothing", [6, 10], [("lokr_w1", w1), ("lokr_w2", w2), ("alpha", Alpha(7))],
                (o, i, y, x) => w1[o / 3, i / 2] * w2[o % 3, i % 2], 1);
        }

        {
            var (w1, w2a, w2b) = (M(2, 5), M(3, 2), M(2, 4));
            yield return new(
                "LoKr with a product", [6, 20], [("lokr_w1", w1), ("lokr_w2_a", w2a), ("lokr_w2_b", w2b), ("alpha", Alpha(1))],
                (o, i, y, x) => w1[o / 3, i / 4] * Sum(2, r => w2a[o % 3, r] * w2b[r, i % 4]), 0.5);
        }

        {
            var (w1a, w1b, w2a, w2b) = (M(3, 2), M(2, 4), M(5, 2), M(2, 3));
            yield return new(
                "LoKr of two products", [15, 12],
                [("lokr_w1_a", w1a), ("lokr_w1_b", w1b), ("lokr_w2_a", w2a), ("lokr_w2_b", w2b), ("alpha", Alpha(3))],
                (o, i, y, x) => Sum(2, r => w1a[o / 5, r] * w1b[r, i / 3]) * Sum(2, r => w2a[o % 5, r] * w2b[r, i % 3]), 1.5);
        }

        {
            var (w1a, w1b, w2) = (M(3, 2), M(2, 2), M(2, 3));
            yield return new(
                "LoKr of a product and a whole matrix", [6, 6],
                [("lokr_w1_a", w1a), ("lokr_w1_b", w1b), ("lokr_w2", w2), ("alpha", Alpha(1))],
                (o, i, y, x) => Sum(2, r => w1a[o / 2, r] * w1b[r, i / 3]) * w2[o % 2, i % 3], 0.5);
        }

        {
            var (w1, w2) = (M(2, 3), T(3, 2, 3, 3));
            yield return new(
                "LoKr of a 3x3 convolution", [6, 6, 3, 3], [("lokr_w1", w1), ("lokr_w2", w2)],
                (o, i, y, x) => w1[o / 3, i / 2] * w2[o % 3, i % 2, y, x], 1);
        }

        {
            var (w1, w2a, w2b) = (M(2, 3), M(3, 2), M(2, 2 * 9));
            yield return new(
                "LoKr of a 3x3 convolution with a product", [6, 6, 3, 3],
                [("lokr_w1", w1), ("lokr_w2_a", w2a), ("lokr_w2_b", w2b), ("alpha", Alpha(1))],
                (o, i, y, x) => w1[o / 3, i / 2] * Sum(2, r => w2a[o % 3, r] * w2b[r, (((i % 2 * 3) + y) * 3) + x]), 0.5);
        }

        {
            var (w1, w2a, w2b, t2) = (M(2, 3), M(2, 3), M(2, 4), T(2, 2, 3, 3));
            yield return new(
                "LoKr of a 3x3 convolution with a core", [6, 12, 3, 3],
                [("lokr_w1", w1), ("lokr_w2_a", w2a), ("lokr_w2_b", w2b), ("lokr_t2", t2), ("alpha", Alpha(1))],
                (o, i, y, x) => w1[o / 3, i / 4] * Sum(2, p => Sum(2, q => t2[p, q, y, x] * w2a[p, o % 3] * w2b[q, i % 4])), 0.5);
        }

        {
            var (w1, w2) = (M(2, 2), T(3, 2, 3, 3));
            yield return new(
                "LoKr of a 3x3 convolution of four channels", [6, 4, 3, 3], [("lokr_w1", w1), ("lokr_w2", w2)],
                (o, i, y, x) => w1[o / 3, i / 2] * w2[o % 3, i % 2, y, x], 1);
        }
    }
}
