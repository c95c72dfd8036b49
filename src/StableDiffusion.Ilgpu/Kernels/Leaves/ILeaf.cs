using ILGPU;

namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>
/// The inner loops of the kernels, on values stored as <typeparamref name="T"/> (fp16 bit patterns or fp32).
/// Every kernel runs with any leaf; only <c>BackendProfile</c> chooses one. Offsets, pitches and counts are in elements.
/// </summary>
internal interface ILeaf<T> : IFormat<T> where T : unmanaged
{
    /// <summary>
    /// The tile that a group computes next: its first one after <paramref name="previous"/> -1, one beyond the last when none is left. Either
    /// the groups take turns, or each takes the next one from a counter when it has finished; which group computes a tile changes no result.
    /// </summary>
    int NextTile(ArrayView<int> counter, int previous);

    /// <summary>Copies rows of <paramref name="count"/> values to fp32.</summary>
    void Widen(
        ArrayView<T> source, long sourceOffset, int sourcePitch, ArrayView<float> target, int targetOffset, int targetPitch, int rows, int count);

    /// <summary>Sets rows of <paramref name="count"/> values to zero.</summary>
    void Clear(ArrayView<float> target, int offset, int pitch, int rows, int count);

    /// <summary>
    /// C[r, c] (+)= sum over k of A[r, k] * B[k, c] for the rows rounded up to a multiple of <see cref="Tile.Rows"/>, and as many columns as
    /// B's pitch: 32, or what <c>KernelSet.PanelPitch</c> says. A's pitch is <see cref="Tile.SourcePitch"/> or
    /// <see cref="Gemm.Winograd.SourcePitch"/>.
    /// </summary>
    void Multiply(
        ArrayView<float> a, int aOffset, int aPitch, ArrayView<float> b, int bOffset, int bPitch, ArrayView<float> c, int cOffset, int cPitch,
        int rows, int depth, int accumulate);

    /// <summary>C[r, 0..32] += sum over k of A[k, r] * B[k, 0..32], with C's pitch 32; rows as above.</summary>
    void MultiplyTransposed(
        ArrayView<float> a, int aOffset, int aPitch, ArrayView<float> b, int bOffset, ArrayView<float> c, int cOffset, int rows, int depth);

    /// <summary>
    /// Winograd's B^T d B of 6x6 source pixels: value i of channel c goes to target + i * distance + c. The pixel at row y and column x comes
    /// first; pixels outside of height and width are zero. With <paramref name="enlarged"/> 1, pixel (y, x) is (y / 2, x / 2) of the source.
    /// </summary>
    void TransformSource(
        ArrayView<T> source, long offset, int linePitch, int pixelPitch, int y, int x, int height, int width, int enlarged,
        ArrayView<float> target, int targetOffset, int distance, int count);

    /// <summary>
    /// Winograd's G g G^T of 3x3 weights, for 32 columns and some depths of a packed panel; value i goes to target + i * distance, and there as
    /// <see cref="Multiply"/> reads its right factor.
    /// </summary>
    void TransformWeights(
        ArrayView<T> weights, long offset, int tapPitch, ArrayView<float> target, int targetOffset, int distance, int pitch, int block, int depth);

    /// <summary>Winograd's A^T m A: 36 rows of sums, which it overwrites, to 16 rows of <paramref name="pitch"/> values.</summary>
    void TransformSums(ArrayView<float> sums, int offset, int distance, ArrayView<float> target, int targetOffset, int pitch);

    /// <summary>
    /// One row of a contraction's result: adds biases, applies the activation, adds the residual (or activates the sum), stores.
    /// <paramref name="count"/> is the number of stored columns; with Geglu the sums hold [16 h | 16 gate] for every 16 of them.
    /// </summary>
    void Finish(
        Epilogue epilogue, ArrayView<float> sums, int sumsOffset, ArrayView<float> bias, int biasOffset, ArrayView<T> itemBias, long itemBiasOffset,
        ArrayView<T> residual, long residualOffset, ArrayView<T> target, long targetOffset, int count);

    /// <summary>
    /// One block of keys for 32 queries (lanes). scores[k, lane] are base-2 logits and become weights; state holds the running maximum and,
    /// 32 further, the running sum; the output so far [depth, 32] is rescaled. Keys after a lane's <c>lastKey + lane</c> are left out.
    /// </summary>
    void Softmax(
        ArrayView<float> scores, int scoresOffset, int keys, ArrayView<float> state, int stateOffset, ArrayView<float> output, int outputOffset, int depth,
        int lastKey);

    /// <summary>The end of an online softmax: output [depth, 32] is divided by the running sums in <paramref name="state"/>.</summary>
    void DivideBySum(ArrayView<float> state, int stateOffset, ArrayView<float> output, int outputOffset, int depth);

    /// <summary>Mean and sum of squared deviations of each of <paramref name="width"/> columns.</summary>
    void Moments(
        ArrayView<T> source, long offset, int pitch, int rows, int width, ArrayView<float> mean, int meanOffset, ArrayView<float> deviation,
        int deviationOffset);

    /// <summary>target = (source - mean) * scale + shift per column, then SiLU if asked.</summary>
    void Normalize(
        ArrayView<T> source, long sourceOffset, int sourcePitch, ArrayView<T> target, long targetOffset, int targetPitch, int rows, int width,
        ArrayView<float> mean, int meanOffset, ArrayView<float> scale, int scaleOffset, ArrayView<float> shift, int shiftOffset, int silu);

    /// <summary>One row of a layer norm.</summary>
    void NormalizeRow(
        ArrayView<T> source, long sourceOffset, ArrayView<T> target, long targetOffset, int width, ArrayView<float> scale, ArrayView<float> shift,
        float epsilon);
}

/// <summary>Sizes that packed weights, main loops and leaves agree on.</summary>
internal static class Tile
{
    /// <summary>Rows come in groups of this many.</summary>
    public const int Rows = 8;

    /// <summary>Columns of a packed panel.</summary>
    public const int Columns = 32;

    /// <summary>Largest part of the depth that is multiplied at once.</summary>
    public const int Depth = 320;

    /// <summary>Pitch of the widened source rows: Depth, and a little more so that rows do not fall on the same cache sets.</summary>
    public const int SourcePitch = Depth + 16;

    public static int RoundUp(int value, int multiple) => (value + multiple - 1) / multiple * multiple;
}

/// <summary>What <see cref="ILeaf{T}.Finish"/> does after the sums.</summary>
internal struct Epilogue
{
    /// <summary>A value of <see cref="Ilgpu.Activation"/>.</summary>
    public int Activation;

    /// <summary>The activation comes after the residual.</summary>
    public int ActivatesSum;

    public int Geglu;
    public int HasItemBias;
    public int HasResidual;
}
