using System.Globalization;
using System.Text;
using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.OpenCL;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;
using ILGPU.IR.Values;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

/// <summary>
/// Writes <see cref="ClVectorText"/> where a kernel calls <see cref="ClVector"/>. ILGPU finds these methods by their names, those of the
/// calls.
/// </summary>
internal static class ClVectorCode
{
    /// <summary>Must run for every context in which kernels with <see cref="ClVectorLeaf{T, TFormat, TSums}"/> are compiled.</summary>
    public static void Register(Context.Builder builder)
    {
        Register(builder, typeof(ClVector), typeof(ClVectorCode));
        Register(builder, typeof(ClVector<ushort>), typeof(ClVectorCode<ClHalf>));
        Register(builder, typeof(ClVector<float>), typeof(ClVectorCode<ClFloat>));
    }

    public static void Clear(CLBackend backend, CLCodeGenerator generator, Value value) =>
        ClBlock.Write(generator, value, "gfloat* to, int pitch, int rows, int count", ClVectorText.Clear);

    public static void Multiply6(CLBackend backend, CLCodeGenerator generator, Value value) =>
        ClBlock.Write(generator, value, MultiplyParameters, ClVectorText.Multiply(6, 1));

    public static void Multiply8(CLBackend backend, CLCodeGenerator generator, Value value) =>
        ClBlock.Write(generator, value, MultiplyParameters, ClVectorText.Multiply(8, 2));

    public static void MultiplyTransposed6(CLBackend backend, CLCodeGenerator generator, Value value) =>
        ClBlock.Write(generator, value, MultiplyTransposedParameters, ClVectorText.MultiplyTransposed(6, 1));

    public static void MultiplyTransposed8(CLBackend backend, CLCodeGenerator generator, Value value) =>
        ClBlock.Write(generator, value, MultiplyTransposedParameters, ClVectorText.MultiplyTransposed(8, 2));

    public static void Softmax(CLBackend backend, CLCodeGenerator generator, Value value) => ClBlock.Write(
        generator, value, "gfloat* scores, int keys, gfloat* state, gfloat* output, int depth, int lastKey", ClVectorText.Softmax);

    public static void DivideBySum(CLBackend backend, CLCodeGenerator generator, Value value) =>
        ClBlock.Write(generator, value, "gfloat* sums, gfloat* output, int depth", ClVectorText.DivideBySum);

    public static void TransformSums(CLBackend backend, CLCodeGenerator generator, Value value) =>
        ClBlock.Write(generator, value, "gfloat* sums, int distance, gfloat* target, int pitch", ClVectorText.TransformSums);

    private const string MultiplyParameters = "gfloat* a, int aPitch, gfloat* b, int bPitch, gfloat* c, int cPitch, int rows, int depth, int accumulate";

    private const string MultiplyTransposedParameters = "gfloat* a, int aPitch, gfloat* b, gfloat* c, int rows, int depth";

    internal static void Register(Context.Builder builder, Type calls, Type texts)
    {
        foreach (var call in calls.GetMethods().Where(m => m.IsDefined(typeof(IntrinsicImplementationAttribute), false)))
        {
            builder.GetIntrinsicManager().RegisterMethod(call, new CLIntrinsic(texts, call.Name, IntrinsicImplementationMode.GenerateCode));
        }
    }
}

/// <summary>As <see cref="ClVectorCode"/>, for values stored in <typeparamref name="TStored"/>.</summary>
internal static class ClVectorCode<TStored> where TStored : struct, IClStored
{
    public static void Widen(CLBackend backend, CLCodeGenerator generator, Value value) => Write(
        generator, value, "stored* from, int sourcePitch, gfloat* to, int targetPitch, int rows, int count", ClVectorText.Widen);

    public static void Finish(CLBackend backend, CLCodeGenerator generator, Value value) => Write(
        generator, value,
        "gfloat* sums, gfloat* bias, stored* itemBias, stored* residual, stored* target, int count, int activation, int activatesSum, int geglu, "
        + "int hasItemBias, int hasResidual",
        ClVectorText.Finish);

    public static void Moments(CLBackend backend, CLCodeGenerator generator, Value value) => Write(
        generator, value, "stored* from, int pitch, int rows, int width, gfloat* mean, gfloat* deviation", ClVectorText.Moments);

    public static void Normalize(CLBackend backend, CLCodeGenerator generator, Value value) => Write(
        generator, value,
        "stored* from, int sourcePitch, stored* to, int targetPitch, int rows, int width, gfloat* mean, gfloat* scale, gfloat* shift, int silu",
        ClVectorText.Normalize);

    public static void NormalizeRow(CLBackend backend, CLCodeGenerator generator, Value value) => Write(
        generator, value, "stored* from, stored* to, int width, gfloat* scale, gfloat* shift, float epsilon", ClVectorText.NormalizeRow);

    public static void TransformSource(CLBackend backend, CLCodeGenerator generator, Value value) => Write(
        generator, value,
        "stored* from, int linePitch, int pixelPitch, int firstY, int firstX, int height, int width, int enlarged, gfloat* target, int distance, int count",
        ClVectorText.TransformSource);

    public static void TransformWeights(CLBackend backend, CLCodeGenerator generator, Value value) => Write(
        generator, value, "stored* from, int tapPitch, gfloat* target, int distance, int pitch, int block, int depth", ClVectorText.TransformWeights);

    private static void Write(CLCodeGenerator generator, Value value, string parameters, string text) =>
        ClBlock.Write(generator, value, parameters, text, default(TStored).Definitions);
}

/// <summary>How values are stored: what <c>stored</c>, <c>LOAD16</c>, <c>STORE16</c>, <c>LOAD1</c> and <c>STORE1</c> stand for.</summary>
internal interface IClStored
{
    string Definitions { get; }
}

/// <summary>fp16. Reading and writing it in memory is core OpenCL: it needs no extension.</summary>
internal struct ClHalf : IClStored
{
    public readonly string Definitions => """
        #define stored __global half
        #define LOAD16(i, p) vload_half16(0, (p) + (i))
        #define STORE16(v, i, p) vstore_half16_rte(v, 0, (p) + (i))
        #define LOAD1(i, p) vload_half(i, p)
        #define STORE1(v, i, p) vstore_half_rte(v, i, p)

        """;
}

internal struct ClFloat : IClStored
{
    public readonly string Definitions => """
        #define stored __global float
        #define LOAD16(i, p) vload16(0, (p) + (i))
        #define STORE16(v, i, p) vstore16(v, 0, (p) + (i))
        #define LOAD1(i, p) (p)[i]
        #define STORE1(v, i, p) (p)[i] = (v)

        """;
}

/// <summary>A call's text: a block that names the arguments and computes.</summary>
internal static class ClBlock
{
    /// <summary>Nothing is passed between translation units, so that a vector's way of being passed does not matter.</summary>
    private const string Quiet = """
        #ifdef __clang__
        #pragma clang diagnostic ignored "-Wpsabi"
        #endif

        """;

    private const string Undefined = """
        #undef gfloat
        #undef stored
        #undef LOAD16
        #undef STORE16
        #undef LOAD1
        #undef STORE1

        """;

    public static void Write(CLCodeGenerator generator, Value value, string parameters, string text, string definitions = "")
    {
        var block = new StringBuilder("\n").Append(Quiet).Append(Undefined).Append(definitions).Append("#define gfloat __global float\n{\n");
        foreach (var (parameter, argument) in parameters.Split(", ").Zip(((MethodCall)value).Nodes.ToArray()))
        {
            var split = parameter.LastIndexOf(' ');
            var (type, name) = (parameter[..split], parameter[(split + 1)..]);
            block.Append(CultureInfo.InvariantCulture, $"{type} {name} = ({type}){Text(generator, argument)};\n");
        }

        generator.Builder.Append(block.Append(text).Append("\n}\n"));
    }

    internal static string Text(CLCodeGenerator generator, ValueReference node) => generator.Load(node.Resolve()) switch
    {
        VariableAllocator.ConstantVariable constant => constant.Value.BasicValueType == BasicValueType.Float32
            ? $"as_float(0x{BitConverter.SingleToUInt32Bits(constant.Value.Float32Value):X8}u)" : $"{constant.Value.Int32Value}",
        var variable => variable.VariableName,
    };
}
