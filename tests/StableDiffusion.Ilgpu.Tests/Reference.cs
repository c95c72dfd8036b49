using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>
/// Computes a graph as it was recorded, in doubles, by the formulas of its operations and nothing else. It is slow on purpose: every
/// fast kernel is held against it, so it must be plain enough to be seen to be right.
/// </summary>
internal static class Reference
{
    /// <param name="graph">A graph that no rule has touched.</param>
    /// <param name="data">Values of an input by its key, or of a weight by its name; channels last.</param>
    /// <param name="store">What storage keeps of a computed value; null for all of it.</param>
    /// <returns>The outputs by key.</returns>
    public static Dictionary<string, double[]> Evaluate(Graph graph, Func<string, float[]> data, Func<double, double>? store = null)
    {
        var results = new Dictionary<Value, double[]>();
        foreach (var value in graph.Values)
        {
            var result = Evaluate(value, [.. value.Inputs.Select(i => results[i])], name => [.. data(name).Select(v => (double)v)]);
            results.Add(value, store is null || value.Op is Input ? result : Array.ConvertAll(result, v => store(v)));
        }

        return graph.Outputs.ToDictionary(o => o.Key, o => results[o.Value]);
    }

    private static double[] Evaluate(Value value, double[][] inputs, Func<string, double[]> data) => value.Op switch
    {
        Input input => data(input.Key),
        Contraction op => Contract(value, op, inputs[0], data),
        Attention op => Attend(value, op, inputs[0], inputs[1], inputs[2]),
        GroupNorm op => NormalizeGroups(value, op, inputs[0], data),
        LayerNorm op => NormalizeRows(value, op, inputs[0], data),
        Activate op => [.. inputs[0].Select(x => Activation(op.Activation, x))],
        Affine op => [.. inputs[0].Select(x => (op.Factor * x) + op.Offset)],
        Geglu => Gate(value, inputs[0]),
        Add => AddRows(value, inputs[0], inputs[1]),
        Concat => Concatenate(value, inputs[0], inputs[1]),
        Resize => Enlarge(value, inputs[0]),
        TokenEmbedding op => Embed(value, inputs[0], data(op.Tokens.Name), data(op.Positions.Name)),
        TimestepEmbedding op => Sinusoids(op, inputs[0]),
        _ => throw new InvalidOperationException($"{value}: not an operation that models record"),
    };

    private static double[] Contract(Value value, Contraction op, double[] x, Func<string, double[]> data)
    {
        if (op.HasEpilogue || op.Siblings.Count > 0 || op.ResizeTo is not null)
        {
            throw new InvalidOperationException($"{value}: a fused graph");
        }

        var (source, shape, window) = (value.Inputs[0].Shape, value.Shape, op.Window);
        var kernel = data(op.Kernel.Name);
        var bias = op.Bias is null ? new double[shape.C] : data(op.Bias.Name);
        return Fill(shape, (n, row, column, c) =>
        {
            var sum = bias[c];
            for (var tap = 0; tap < window.Kernel * window.Kernel; tap++)
            {
                var (ky, kx) = Math.DivRem(tap, window.Kernel);
                var (sy, sx) = ((row * window.Stride) + ky - window.PadTop, (column * window.Stride) + kx - window.PadLeft);
                if (window.Circular)
                {
                    (sy, sx) = (((sy % source.H) + source.H) % source.H, ((sx % source.W) + source.W) % source.W);
                }

                if (sy >= 0 && sy < source.H && sx >= 0 && sx < source.W)
                {
                    for (var i = 0; i < source.C; i++)
                    {
                        sum += kernel[(((c * source.C) + i) * window.Kernel * window.Kernel) + tap] * x[At(source, n, sy, sx, i)];
                    }
                }
            }

            return sum;
        });
    }

    private static double[] Attend(Value value, Attention op, double[] q, double[] k, double[] v)
    {
        var (queries, keys, size) = (value.Shape, value.Inputs[1].Shape, value.C / op.Heads);
        var weights = new Dictionary<(int N, int Head, int Query), double[]>();
        return Fill(queries, (n, row, column, c) =>
        {
            var (head, query) = (c / size, (row * queries.W) + column);
            if (!weights.TryGetValue((n, head, query), out var w))
            {
                weights.Add((n, head, query), w = Softmax([.. Enumerable.Range(0, op.Causal ? query + 1 : keys.RowsPerItem).Select(key =>
                    Enumerable.Range(head * size, size)
                        .Sum(i => q[Row(queries, n, query) + i] * k[Row(keys, n, key) + i]) / Math.Sqrt(size))]));
            }

            return w.Select((weight, key) => weight * v[Row(keys, n, key) + c]).Sum();
        });

        static int Row(Shape shape, int n, int row) => ((n * shape.RowsPerItem) + row) * shape.C;
    }

    private static double[] Softmax(double[] logits)
    {
        var largest = logits.Max();
        double[] powers = [.. logits.Select(l => Math.Exp(l - largest))];
        var sum = powers.Sum();
        return [.. powers.Select(p => p / sum)];
    }

    private static double[] NormalizeGroups(Value value, GroupNorm op, double[] x, Func<string, double[]> data)
    {
        if (op.Silu)
        {
            throw new InvalidOperationException($"{value}: a fused graph");
        }

        var (rows, width) = (value.Shape.RowsPerItem, value.C / op.Groups);
        var (scale, offset) = (data(op.Scale.Name), data(op.Offset.Name));
        var y = new double[x.Length];
        for (var group = 0; group < value.Shape.N * op.Groups; group++)
        {
            var first = (group / op.Groups * rows * value.C) + (group % op.Groups * width);
            Normalize(x, y, [.. Enumerable.Range(0, rows * width).Select(i => first + (i / width * value.C) + (i % width))], op.Epsilon,
                scale, offset);
        }

        return y;
    }

    private static double[] NormalizeRows(Value value, LayerNorm op, double[] x, Func<string, double[]> data)
    {
        var (scale, offset) = (data(op.Scale.Name), data(op.Offset.Name));
        var y = new double[x.Length];
        for (var row = 0; row < value.Shape.Rows; row++)
        {
            Normalize(x, y, [.. Enumerable.Range(row * value.C, value.C)], op.Epsilon, scale, offset);
        }

        return y;
    }

    private static void Normalize(double[] x, double[] y, int[] members, double epsilon, double[] scale, double[] offset)
    {
        var mean = members.Average(i => x[i]);
        var variance = members.Average(i => (x[i] - mean) * (x[i] - mean));
        foreach (var i in members)
        {
            y[i] = ((x[i] - mean) / Math.Sqrt(variance + epsilon) * scale[i % scale.Length]) + offset[i % scale.Length];
        }
    }

    private static double[] Gate(Value value, double[] x)
    {
        var y = new double[value.Shape.Count];
        for (var i = 0; i < y.Length; i++)
        {
            var h = (i / value.C * 2 * value.C) + (i % value.C);
            y[i] = x[h] * Activation(Ilgpu.Activation.Gelu, x[h + value.C]);
        }

        return y;
    }

    private static double[] AddRows(Value value, double[] a, double[] b)
    {
        var rows = value.Shape.Rows / value.Inputs[1].Shape.Rows;
        return [.. a.Select((v, i) => v + b[(i / value.C / rows * value.C) + (i % value.C)])];
    }

    private static double[] Concatenate(Value value, double[] a, double[] b)
    {
        var (left, right) = (value.Inputs[0].C, value.Inputs[1].C);
        var y = new double[value.Shape.Count];
        for (var i = 0; i < y.Length; i++)
        {
            var (row, column) = Math.DivRem(i, value.C);
            y[i] = column < left ? a[(row * left) + column] : b[(row * right) + column - left];
        }

        return y;
    }

    private static double[] Enlarge(Value value, double[] x)
    {
        var (shape, source) = (value.Shape, value.Inputs[0].Shape);
        return Fill(shape, (n, row, column, c) => x[At(source, n, row * source.H / shape.H, column * source.W / shape.W, c)]);
    }

    private static double[] Embed(Value value, double[] ids, double[] tokens, double[] positions)
    {
        var y = new double[value.Shape.Count];
        for (var i = 0; i < y.Length; i++)
        {
            var (row, column) = Math.DivRem(i, value.C);
            y[i] = tokens[((int)ids[row] * value.C) + column] + positions[(row % value.Shape.W * value.C) + column];
        }

        return y;
    }

    private static double[] Sinusoids(TimestepEmbedding op, double[] timesteps)
    {
        var half = op.Size / 2;
        return [.. timesteps.SelectMany(t =>
        {
            var angles = Enumerable.Range(0, half).Select(k => t * Math.Pow(10000, -k / (half - op.FrequencyShift))).ToArray();
            var (sines, cosines) = (angles.Select(Math.Sin), angles.Select(Math.Cos));
            return op.CosineFirst ? cosines.Concat(sines) : sines.Concat(cosines);
        })];
    }

    private static double Activation(Activation activation, double x) => activation switch
    {
        Ilgpu.Activation.Silu => x / (1 + Math.Exp(-x)),
        Ilgpu.Activation.QuickGelu => x / (1 + Math.Exp(-1.702 * x)),
        Ilgpu.Activation.Gelu => x >= 0 ? x * (1 - (0.5 * Erfc(x / Math.Sqrt(2)))) : x * 0.5 * Erfc(-x / Math.Sqrt(2)),
        Ilgpu.Activation.Relu => Math.Max(0, x),
        Ilgpu.Activation.SoftClamp => 3 * Math.Tanh(x / 3),
        _ => x,
    };

    /// <summary>erfc z for z >= 0: 1 - erf by its power series, or Laplace's continued fraction where that converges.</summary>
    private static double Erfc(double z)
    {
        if (z > 3)
        {
            var fraction = z;
            for (var k = 100; k > 0; k--)
            {
                fraction = z + (k / 2.0 / fraction);
            }

            return Math.Exp(-z * z) / Math.Sqrt(Math.PI) / fraction;
        }

        var (term, sum) = (z, z);
        for (var k = 1; k < 100; k++)
        {
            term *= -z * z / k;
            sum += term / ((2 * k) + 1);
        }

        return 1 - (2 / Math.Sqrt(Math.PI) * sum);
    }

    /// <summary>All elements of a channels-last value.</summary>
    private static double[] Fill(Shape shape, Func<int, int, int, int, double> element)
    {
        var y = new double[shape.Count];
        for (var i = 0; i < y.Length; i++)
        {
            var (row, c) = Math.DivRem(i, shape.C);
            y[i] = element(row / shape.RowsPerItem, row / shape.W % shape.H, row % shape.W, c);
        }

        return y;
    }

    private static int At(Shape shape, int n, int h, int w, int c) => (((((n * shape.H) + h) * shape.W) + w) * shape.C) + c;
}
